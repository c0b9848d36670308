// See mount_table.h; the format is in proc(5).
#include "src/os/mount_table.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <sstream>

#include "src/os/file_text.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

/// mountinfo writes blanks and backslashes as \ooo.
std::string unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::string tidy_path(std::string_view path) {
  std::string tidy;
  for (char letter : path) {
    if (letter != '/' || tidy.empty() || tidy.back() != '/') tidy += letter;
  }
  if (tidy.size() > 1 && tidy.back() == '/') tidy.pop_back();
  return tidy;
}

std::vector<MountEntry> parse_mount_table(std::string_view text) {
  std::vector<MountEntry> entries;
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string id, parent, word;
    MountEntry entry;
    fields >> id >> parent >> entry.device >> entry.root >> entry.mount_point >> entry.options;
    while (fields >> word && word != "-") continue;
    fields >> entry.type >> entry.source;
    if (!fields) continue;
    entry.root = unescape(entry.root);
    entry.mount_point = unescape(entry.mount_point);
    entry.source = unescape(entry.source);
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<std::vector<MountEntry>> read_mount_table() {
  auto text = read_text_file("/proc/self/mountinfo");
  if (!text) return pass(text);
  return parse_mount_table(*text);
}

Result<std::optional<MountEntry>> find_mount(const std::string& mount_point) {
  auto table = read_mount_table();
  if (!table) return pass(table);
  std::optional<MountEntry> found;
  for (auto& entry : *table) {
    if (entry.mount_point == tidy_path(mount_point)) found = std::move(entry);
  }
  return found;
}

Result<std::optional<std::string>> mounted_device(const std::string& mount_point) {
  auto entry = find_mount(mount_point);
  if (!entry) return pass(entry);
  std::optional<std::string> source;
  if (*entry) source = (*entry)->source;
  return source;
}

Result<std::vector<MountEntry>> mounts_of_device(const std::string& device_path) {
  struct stat status {};
  if (::stat(device_path.c_str(), &status) != 0) {
    return fail_as(ErrorCode::kNotFound, "no device {}: {}", device_path, errno_text());
  }
  if (!S_ISBLK(status.st_mode)) return fail_as(ErrorCode::kInvalid, "{} is not a block device", device_path);
  const std::string device = fmt::format("{}:{}", major(status.st_rdev), minor(status.st_rdev));
  auto table = read_mount_table();
  if (!table) return pass(table);
  std::vector<MountEntry> found;
  for (auto& entry : *table) {
    if (entry.device == device) found.push_back(std::move(entry));
  }
  return found;
}

}  // namespace baton
