// See store_check.h.
#include "src/format/store_check.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include "src/format/filesystem_units.h"
#include "src/model/mirror_place.h"

namespace baton {

namespace {

constexpr size_t kLookedAt = 1 << 20;  // at the begin and at the end

struct Signature {
  size_t place;
  std::string_view bytes;
  const char* what;
};
constexpr Signature kSignatures[] = {{0x438, "\x53\xef", "an ext2, ext3 or ext4 filesystem"},
                                     {0, "XFSB", "an xfs filesystem"},
                                     {0x10040, "_BHRfS_M", "a btrfs filesystem"},
                                     {0x218, "LVM2 001", "a physical volume of LVM"},
                                     {0, "LUKS\xba\xbe", "an encrypted volume (LUKS)"},
                                     {4086, "SWAPSPACE2", "swap space"},
                                     {0x200, "EFI PART", "a partition table"},
                                     {0x1fe, "\x55\xaa", "a partition table or boot sector"}};

class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

struct Store {
  uint64_t bytes = 0;
  bool is_file = false;
};

/// A file or block device; nothing if it does not exist yet.
Result<std::optional<Store>> look_at(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT) return std::optional<Store>{};
    return fail("cannot look at {}: {}", path, std::strerror(errno));
  }
  if (S_ISREG(facts.st_mode)) return std::optional<Store>({static_cast<uint64_t>(facts.st_size), true});
  if (!S_ISBLK(facts.st_mode)) return fail("{} is neither a file nor a block device", path);
  const OpenFile file(path);
  if (file.fd() < 0) return fail("cannot open {}: {}", path, std::strerror(errno));
  uint64_t bytes = 0;
  if (::ioctl(file.fd(), BLKGETSIZE64, &bytes) != 0) return fail("cannot ask the size of {}: {}", path, std::strerror(errno));
  return std::optional<Store>({bytes, false});
}

Result<std::string> read_part(const std::string& path, const OpenFile& file, uint64_t place) {
  std::string part(kLookedAt, '\0');
  const ssize_t count = ::pread(file.fd(), part.data(), part.size(), static_cast<off_t>(place));
  if (count < 0) return fail("cannot read {}: {}", path, std::strerror(errno));
  part.resize(static_cast<size_t>(count));
  return part;
}

bool is_zero(const std::string& part) { return part.find_first_not_of('\0') == std::string::npos; }

std::string name_content(const std::string& begin) {
  for (const Signature& signature : kSignatures)
    if (begin.size() >= signature.place + signature.bytes.size() &&
        begin.compare(signature.place, signature.bytes.size(), signature.bytes) == 0)
      return signature.what;
  return "data of unknown kind";
}

/// Has Baton written its metadata for this mirror here? Then the store is a copy, whatever it holds.
bool has_metadata(const std::string& path) {
  const auto content = describe_content(path);
  return !content || !content->empty();
}

std::string check_size(const MirrorConfiguration& mirror, const Store& store, bool used) {
  if (store.bytes >= mirror.size_bytes) return "";
  if (!used || !store.is_file)
    return fmt::format("it is larger ({}) than its store {} ({}): make the store larger or lower `size`",
                       format_size(mirror.size_bytes), mirror.store, format_size(store.bytes));
  // A file grows with its mirror.
  std::error_code error;
  const auto space = std::filesystem::space(std::filesystem::path(mirror.store).parent_path(), error);
  const uint64_t missing = mirror.size_bytes - store.bytes;
  if (error || space.available >= missing) return "";
  return fmt::format("it cannot grow to {}: {} more are needed below {}, and {} are free: make room, or grow it less",
                     format_size(mirror.size_bytes), format_size(missing),
                     std::filesystem::path(mirror.store).parent_path().string(), format_size(space.available));
}

std::string check_directory(const MirrorConfiguration& mirror, const StoreCheckOptions& options) {
  const auto directory = std::filesystem::path(mirror.store).parent_path();
  std::error_code error;
  if (options.make_directories && mirror.store.starts_with(options.state_directory + "/"))
    std::filesystem::create_directories(directory, error);
  if (std::filesystem::is_directory(directory, error)) return "";
  return fmt::format("{} cannot be made: there is no directory {}: create it", mirror.store, directory.string());
}

/// SAFETY: a new mirror's first copy overwrites every store but one. Data that nobody spoke of is not overwritten.
std::string check_content(const Configuration& configuration, const GroupConfiguration& group,
                          const MirrorConfiguration& mirror, ServerId self) {
  const ServerId first = first_primary(configuration, group);
  if (first == self || !mirror.adopt.empty()) return "";
  const auto content = describe_content(mirror.store);
  if (!content) return content.error().message;
  if (content->empty()) return "";
  const std::string here = configuration.server_name(self);
  const std::string there = configuration.server_name(first);
  return fmt::format("its store {} holds {}, which the first copy from {} would overwrite: add adopt = \"{}\" to keep "
                     "the data of {}, or adopt = \"{}\" to keep what {} has and lose this, or empty this one (wipefs -a, "
                     "or dd from /dev/zero over its first and last MiB)",
                     mirror.store, *content, there, here, here, there, there);
}

/// What the group will mount: better said now than by a mount that fails.
std::string check_units(const Configuration& configuration, const GroupConfiguration& group,
                        const ResourceConfiguration& resource, ServerId self) {
  const bool mounted = std::any_of(group.resources.begin(), group.resources.end(), [&](const auto& each) {
    return each.kind == ResourceKind::kFilesystem && each.filesystem.mirror == resource.name;
  });
  if (!mounted || first_primary(configuration, group) != self) return "";
  const auto units = describe_small_units(resource.mirror.store);
  if (!units) return units.error().message;
  if (units->empty()) return "";
  return fmt::format("its store {} holds {}, which cannot be mounted from a mirror: that has sectors of {} bytes. Instead "
                     "{}",
                     resource.mirror.store, *units, kExportSectorBytes, help_with_small_units(*units));
}

std::string check_store(const CheckedConfiguration& checked, const GroupConfiguration& group,
                        const ResourceConfiguration& resource, const StoreCheckOptions& options) {
  const MirrorConfiguration& mirror = resource.mirror;
  const auto store = look_at(mirror.store);
  if (!store) return store.error().message;
  if (!store->has_value()) return check_directory(mirror, options);
  const std::string key = mirror_key(group.name, resource.name);
  const bool used = options.used.contains(key);
  if (auto wrong = check_size(mirror, **store, used); !wrong.empty()) return wrong;
  const std::string metadata =
      mirror.metadata.empty() ? options.state_directory + "/mirror/" + key + ".meta" : mirror.metadata;
  if (used || has_metadata(metadata)) return "";
  if (auto wrong = check_units(checked.configuration, group, resource, options.self); !wrong.empty()) return wrong;
  return check_content(checked.configuration, group, mirror, options.self);
}

}  // namespace

Result<std::string> describe_content(const std::string& path) {
  const auto store = look_at(path);
  if (!store) return pass(store);
  if (!store->has_value()) return std::string();
  const OpenFile file(path);
  if (file.fd() < 0) return fail("cannot open {}: {}", path, std::strerror(errno));
  const auto begin = read_part(path, file, 0);
  if (!begin) return pass(begin);
  if (!is_zero(*begin)) return name_content(*begin);
  const uint64_t bytes = (*store)->bytes;
  const auto end = read_part(path, file, bytes > kLookedAt ? bytes - kLookedAt : 0);
  if (!end) return pass(end);
  return is_zero(*end) ? std::string() : std::string("data of unknown kind");
}

std::vector<std::string> check_stores(const CheckedConfiguration& checked, const StoreCheckOptions& options) {
  std::vector<std::string> problems;
  for (const auto& group : checked.configuration.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), options.self) == group.servers.end()) continue;
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const std::string wrong = check_store(checked, group, resource, options);
      if (wrong.empty()) continue;
      SourcePosition position = resource.position;
      const auto found = checked.positions.find(fmt::format("group.{}.mirror.{}.size", group.name, resource.name));
      if (found != checked.positions.end()) position = found->second;
      const std::string text = fmt::format("mirror {} on {}: {}", resource.name,
                                           checked.configuration.server_name(options.self), wrong);
      problems.push_back(describe(ConfigurationProblem{position.line, position.column, text}, options.file_name));
    }
  }
  return problems;
}

std::vector<std::string> check_stores(const std::string& text, const StoreCheckOptions& options) {
  const auto checked = read_configuration(text);
  std::vector<std::string> problems;
  for (const auto& problem : checked.problems) problems.push_back(describe(problem, options.file_name));
  return problems.empty() ? check_stores(checked, options) : problems;
}

}  // namespace baton
