// The lab's state file and lock; see lab_state.h. One thread.
#include "src/lab/lab_state.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace {

using nlohmann::json;

const std::string kStateFile = std::string(kRunDirectory) + "/state.json";

Role role_of(const std::string& name) {
  return name == "witness" ? Role::kWitness : name == "client" ? Role::kClient : Role::kServer;
}

LinkFault fault_of(const std::string& name) {
  return name == "cut" ? LinkFault::kCut : name == "silent" ? LinkFault::kSilent : LinkFault::kNone;
}

}  // namespace

std::string encode_state(const Lab& lab) {
  json members = json::array();
  for (const auto& member : lab.members) {
    json links = json::array();
    for (const auto& link : member.links) {
      links.push_back({{"number", link.number},
                       {"interface", link.interface},
                       {"bridge", link.bridge},
                       {"address", link.address},
                       {"mac", link.mac},
                       {"fault", fault_name(link.fault)}});
    }
    members.push_back({{"name", member.name},
                       {"role", role_name(member.role)},
                       {"off", member.off},
                       {"paused", member.paused},
                       {"init_pid", member.init_pid},
                       {"programs", member.programs},
                       {"links", links}});
  }
  json whole = {{"version", 1},
                {"complete", lab.complete},
                {"volatile_disks", lab.volatile_disks},
                {"configured", lab.configured},
                {"programs", lab.programs},
                {"daemon", lab.daemon},
                {"members", members}};
  return whole.dump(2) + "\n";
}

Result<Lab> decode_state(const std::string& text) {
  try {
    auto whole = json::parse(text);
    Lab lab{.complete = whole.at("complete").get<bool>(),
            .volatile_disks = whole.at("volatile_disks").get<bool>(),
            .configured = whole.at("configured").get<bool>(),
            .programs = whole.at("programs").get<std::string>(),
            .daemon = whole.at("daemon").get<std::string>()};
    for (const auto& entry : whole.at("members")) {
      Member member{.name = entry.at("name").get<std::string>(),
                    .role = role_of(entry.at("role").get<std::string>()),
                    .off = entry.at("off").get<bool>(),
                    .paused = entry.at("paused").get<bool>(),
                    .init_pid = entry.at("init_pid").get<pid_t>(),
                    .programs = entry.at("programs").get<std::string>()};
      for (const auto& link : entry.at("links")) {
        member.links.push_back({.number = link.at("number").get<int>(),
                                .interface = link.at("interface").get<std::string>(),
                                .bridge = link.at("bridge").get<std::string>(),
                                .address = link.at("address").get<std::string>(),
                                .mac = link.at("mac").get<std::string>(),
                                .fault = fault_of(link.at("fault").get<std::string>())});
      }
      lab.members.push_back(std::move(member));
    }
    return lab;
  } catch (const json::exception& error) {
    return fail_as(ErrorCode::kInvalid, "{} is damaged ({}); `baton lab down` clears the lab away", kStateFile,
                   error.what());
  }
}

Result<Lab> load_state() {
  if (access(kStateFile.c_str(), F_OK) != 0) {
    return fail_as(ErrorCode::kNotFound, "no lab is up; start one with `baton lab up`");
  }
  auto text = read_file(kStateFile);
  if (!text) return pass(text);
  return decode_state(*text);
}

Status save_state(const Lab& lab) {
  if (auto made = make_directories(kRunDirectory); !made) return made;
  auto temporary = kStateFile + ".new";
  if (auto written = write_file(temporary, encode_state(lab), 0600); !written) return written;
  if (rename(temporary.c_str(), kStateFile.c_str()) != 0) {
    return fail("cannot rename {} to {}: {}", temporary, kStateFile, strerror(errno));
  }
  return {};
}

LabLock::~LabLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

Result<LabLock> LabLock::take() {
  // An abstract socket name: exclusive, gone with its holder, and no file to leave behind.
  LabLock lock;
  lock.descriptor_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (lock.descriptor_ < 0) return fail("cannot create the lab's lock: {}", strerror(errno));
  sockaddr_un name{.sun_family = AF_UNIX};
  constexpr char kName[] = "\0baton-lab-lock";
  memcpy(name.sun_path, kName, sizeof kName - 1);
  socklen_t length = offsetof(sockaddr_un, sun_path) + sizeof kName - 1;
  auto waited = wait_until("another `baton lab` command to end", 60s, [&] {
    return bind(lock.descriptor_, reinterpret_cast<sockaddr*>(&name), length) == 0;
  });
  if (!waited) return pass(waited);
  return lock;
}

Result<std::string> read_file(const std::string& path) {
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail("cannot open {}: {}", path, strerror(errno));
  std::string content;
  char buffer[16384];
  ssize_t count;
  while ((count = read(descriptor, buffer, sizeof buffer)) > 0) content.append(buffer, size_t(count));
  int error = errno;
  close(descriptor);
  if (count < 0) return fail("cannot read {}: {}", path, strerror(error));
  return content;
}

Status write_file(const std::string& path, const std::string& content, unsigned mode) {
  int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (descriptor < 0) return fail("cannot open {} for writing: {}", path, strerror(errno));
  ssize_t count = content.empty() ? 0 : write(descriptor, content.data(), content.size());
  int error = errno;
  close(descriptor);
  if (count != ssize_t(content.size())) {
    return fail("cannot write {}: {}", path, count < 0 ? strerror(error) : "the disk is full");
  }
  return {};
}

Status make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail("cannot create the directory {}: {}", path, error.message());
  return {};
}

}  // namespace baton::lab
