// Sizes of files and devices against the configuration's mirrors. Any thread.
#include "src/daemon/store_check.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "src/model/configuration_toml.h"

namespace baton {

namespace {

/// The size of a file or block device; nothing if it does not exist yet.
Result<std::optional<uint64_t>> store_size(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT) return std::optional<uint64_t>{};
    return fail("cannot look at {}: {}", path, std::strerror(errno));
  }
  if (S_ISREG(facts.st_mode)) return std::optional<uint64_t>(static_cast<uint64_t>(facts.st_size));
  if (!S_ISBLK(facts.st_mode)) return fail("{} is neither a file nor a block device", path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail("cannot open {}: {}", path, std::strerror(errno));
  uint64_t bytes = 0;
  const int answer = ::ioctl(fd, BLKGETSIZE64, &bytes);
  ::close(fd);
  if (answer != 0) return fail("cannot ask the size of {}: {}", path, std::strerror(errno));
  return std::optional<uint64_t>(bytes);
}

std::string check_store(const MirrorConfiguration& mirror) {
  const auto size = store_size(mirror.store);
  if (!size) return size.error().message;
  if (!size->has_value()) {
    const auto directory = std::filesystem::path(mirror.store).parent_path();
    if (std::filesystem::is_directory(directory)) return "";
    return fmt::format("{} cannot be made: there is no directory {}: create it", mirror.store, directory.string());
  }
  if (**size >= mirror.size_bytes) return "";
  return fmt::format("the mirror is larger ({}) than its store {} ({}): make the store larger or lower `size`",
                     format_size(mirror.size_bytes), mirror.store, format_size(**size));
}

}  // namespace

std::vector<std::string> check_stores(const std::string& configuration_text, ServerId self) {
  std::vector<std::string> problems;
  const auto checked = read_configuration(configuration_text);
  for (const auto& problem : checked.problems) problems.push_back(describe(problem, "cluster.toml"));
  if (!problems.empty()) return problems;
  for (const auto& group : checked.configuration.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), self) == group.servers.end()) continue;
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const std::string wrong = check_store(resource.mirror);
      if (wrong.empty()) continue;
      SourcePosition position = resource.position;
      const auto found = checked.positions.find(fmt::format("group.{}.mirror.{}.size", group.name, resource.name));
      if (found != checked.positions.end()) position = found->second;
      problems.push_back(describe(
          ConfigurationProblem{position.line, position.column,
                               fmt::format("mirror {} on {}: {}", resource.name,
                                           checked.configuration.server_name(self), wrong)},
          "cluster.toml"));
    }
  }
  return problems;
}

}  // namespace baton
