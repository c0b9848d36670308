// Mount places and placed files; see lab_places.h. One thread.
#include "src/lab/lab_places.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "src/lab/lab_state.h"

namespace baton::lab {
namespace {

const std::string kCreatedFile = std::string(kDataDirectory) + "/created-places";

Result<std::string> random_hex(size_t bytes) {
  std::string raw(bytes, '\0');
  if (getrandom(raw.data(), bytes, 0) != ssize_t(bytes)) return fail("getrandom: {}", strerror(errno));
  std::string text;
  for (unsigned char byte : raw) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

Status create_places() {
  std::string created;
  for (const char* place : {"/etc/baton", "/var/lib/baton", "/var/log/baton", "/srv"}) {
    if (access(place, F_OK) != 0) created += std::string(place) + "\n";
  }
  // The note comes first: a crash in between leaves a note too many, and removal spares what is not empty.
  if (auto written = write_file(kCreatedFile, created); !written) return written;
  std::istringstream lines(created);
  for (std::string place; std::getline(lines, place);) {
    if (auto made = make_directories(place); !made) return made;
  }
  return {};
}

void remove_created_places() {
  auto created = read_file(kCreatedFile);
  if (!created) return;
  std::istringstream lines(*created);
  for (std::string place; std::getline(lines, place);) (void)rmdir(place.c_str());
}

Status write_hosts(const Lab& lab) {
  std::string hosts = "127.0.0.1 localhost\n";
  for (const auto& member : lab.members) {
    for (const auto& link : member.links) {
      hosts += fmt::format("{} {}{}\n", link.address, member.name, link.number == 0 ? "-interconnect" : "");
    }
  }
  return write_file(std::string(kDataDirectory) + "/hosts", hosts);
}

bool is_configured(const std::string& configuration, const std::string& member) {
  return configuration.find("[server." + member + "]") != std::string::npos;
}

Status place_configuration(const Lab& lab, const std::string& configuration) {
  auto content = read_file(configuration);
  if (!content) return pass(content);
  auto key = random_hex(64);
  if (!key) return pass(key);
  for (const auto& member : lab.members) {
    if (member.role == Role::kClient || !is_configured(*content, member.name)) continue;
    auto etc = member.directory() + "/etc";
    if (auto made = make_directories(etc); !made) return made;
    if (auto written = write_file(etc + "/cluster.toml", *content); !written) return written;
    if (auto written = write_file(etc + "/cluster.key", *key + "\n", 0600); !written) return written;
  }
  return {};
}

}  // namespace baton::lab
