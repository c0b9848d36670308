// See support_archive.h.
#include "src/cli/support_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "src/lab/lab_process.h"

namespace baton::cli {
namespace {

namespace fs = std::filesystem;

constexpr off_t kLongestFile = 4 << 20;
constexpr Duration kProgramLimit = 10s;
constexpr Duration kArchiveLimit = 120s;

/// Files that hold nothing but secrets, or databases whose text cannot be cleaned.
bool is_left_out(const std::string& name) {
  for (const char* end : {".key", ".key.new", ".pem", ".p12", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".meta", ".img", "authkey"})
    if (name.ends_with(end)) return true;
  return is_secret_name(name);
}

/// The last 4 MiB, from the begin of a line; special files and links are not followed.
Result<std::string> end_of_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return fail("{}", strerror(errno));
  struct stat status{};
  std::string text;
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return fail("no plain file");
  }
  const bool cut = status.st_size > kLongestFile;
  if (cut) lseek(fd, -kLongestFile, SEEK_END);
  char buffer[65536];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0 && text.size() < 2 * static_cast<size_t>(kLongestFile))
    text.append(buffer, static_cast<size_t>(got));
  const int error_number = errno;
  close(fd);
  if (got < 0) return fail("{}", strerror(error_number));
  // A line cut in two could hide the name before a secret.
  if (cut) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

}  // namespace

Result<SupportArchive> SupportArchive::begin(const std::string& parent, const std::string& name) {
  std::string directory = parent + "/.baton-support-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return fail("cannot make a directory in {}: {}", parent, strerror(errno));
  if (mkdir((directory + "/" + name).c_str(), 0700) != 0) return fail("cannot make {}/{}: {}", directory, name, strerror(errno));
  auto owned = std::shared_ptr<const std::string>(new std::string(directory), [](const std::string* path) {
    std::error_code ignored;
    fs::remove_all(*path, ignored);
    delete path;
  });
  return SupportArchive(owned, name);
}

void SupportArchive::add(const std::string& name, const std::string& text) { store(name, secrets_.clean(text)); }

void SupportArchive::store(const std::string& name, const std::string& cleaned) {
  const std::string path = *directory_ + "/" + name_ + "/" + name;
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return missing(name, strerror(errno));
  const bool good = write(fd, cleaned.data(), cleaned.size()) == static_cast<ssize_t>(cleaned.size());
  close(fd);
  if (!good) return missing(name, "cannot write " + path);
  files_.push_back(name);
}

void SupportArchive::add(const std::string& name, const json& value) {
  // Cleaned as text it might be JSON no more.
  store(name, secrets_.clean_json(value).dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

void SupportArchive::add_file(const std::string& name, const std::string& path) {
  if (is_left_out(fs::path(path).filename().string())) return missing(name, "left out: it may hold secrets");
  auto text = end_of_file(path);
  if (!text) return missing(name, path + ": " + text.error().message);
  add(name, *text);
}

void SupportArchive::add_directory(const std::string& name, const std::string& path) {
  std::error_code error;
  std::vector<std::string> found;
  fs::recursive_directory_iterator at(path, error), end;
  for (; !error && at != end; at.increment(error))
    if (at->is_regular_file(error) && !at->is_symlink(error)) found.push_back(at->path().lexically_relative(path).string());
  if (error) missing(name, path + ": " + error.message());
  std::sort(found.begin(), found.end());
  for (const auto& file : found) add_file(name + "/" + file, path + "/" + file);
}

void SupportArchive::add_output(const std::string& name, const std::vector<std::string>& command) {
  auto output = lab::run_command(command, "", kProgramLimit);
  if (!output) return missing(name, output.error().message.substr(0, 500));
  add(name, *output);
}

void SupportArchive::missing(const std::string& name, const std::string& why) {
  missing_.emplace_back(name, secrets_.clean(why));
}

json SupportArchive::contents() const {
  json absent = json::array();
  for (const auto& [name, why] : missing_) absent.push_back({{"name", name}, {"why", why}});
  return {{"files", files_}, {"missing", absent}, {"secrets_removed", secrets_.removed()}};
}

Status SupportArchive::finish(const std::string& output) {
  add("contents.json", contents());
  const std::string draft = output + ".new";
  const std::string pack = output.ends_with(".zst") ? "--zstd" : "--gzip";
  auto packed = lab::run_command({"tar", "--create", pack, "--owner=0", "--group=0", "--directory", *directory_, "--file",
                                  draft, name_}, "", kArchiveLimit);
  if (!packed || chmod(draft.c_str(), 0600) != 0 || rename(draft.c_str(), output.c_str()) != 0) {
    const std::string why = packed ? strerror(errno) : packed.error().message;
    unlink(draft.c_str());
    return fail("cannot write {}: {}", output, why);
  }
  return {};
}

}  // namespace baton::cli
