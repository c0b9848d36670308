// See log_check.h.
#include "src/check/log_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "src/base/result.h"
#include "src/os/owned_fd.h"

namespace baton::check {

namespace {

constexpr size_t kLongestLine = 64 * 1024;  // of a longer one, that much is looked at
constexpr size_t kShownBytes = 500;
constexpr size_t kMarkedBytes = 64;

class Pattern {
 public:
  explicit Pattern(const std::string& text) : error_(::regcomp(&compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB)) {}
  ~Pattern() {
    if (error_ == 0) ::regfree(&compiled_);
  }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  /// Empty: it is one.
  std::string error() const {
    char text[200] = "";
    if (error_ != 0) ::regerror(error_, &compiled_, text, sizeof text);
    return text;
  }
  bool matches(std::string line) const {
    std::replace(line.begin(), line.end(), '\0', ' ');
    return ::regexec(&compiled_, line.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  regex_t compiled_{};
  int error_;
};

struct File {
  OwnedFd fd;
  struct stat status {};
  uint64_t inode() const { return status.st_ino; }
  uint64_t size() const { return static_cast<uint64_t>(status.st_size); }
};

/// Never a pipe or a device: to read those may take for ever.
std::optional<File> open_log(const std::string& path) {
  File file;
  file.fd = OwnedFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.fd || ::fstat(file.fd.get(), &file.status) != 0) return std::nullopt;
  if (S_ISREG(file.status.st_mode)) return file;
  errno = S_ISDIR(file.status.st_mode) ? EISDIR : ESPIPE;
  return std::nullopt;
}

/// Where a log was renamed to by the one who keeps it short.
std::optional<File> find_renamed(const std::string& path, uint64_t inode) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(directory.c_str()), &::closedir);
  while (dirent* entry = listing ? ::readdir(listing.get()) : nullptr) {
    if (entry->d_ino != inode) continue;
    auto file = open_log(directory + entry->d_name);
    if (file && file->inode() == inode) return file;
  }
  return std::nullopt;
}

/// FNV-1a of the last bytes before `offset`.
Result<uint64_t> mark_of(const File& file, uint64_t offset) {
  char bytes[kMarkedBytes];
  const size_t count = std::min<uint64_t>(kMarkedBytes, offset);
  const ssize_t got = ::pread(file.fd.get(), bytes, count, static_cast<off_t>(offset - count));
  if (got < 0) return fail("{}", errno_text());
  uint64_t mark = 0xcbf29ce484222325U;
  for (ssize_t place = 0; place < got; ++place) mark = (mark ^ static_cast<unsigned char>(bytes[place])) * 0x100000001b3U;
  return mark;
}

Result<bool> is_same(const File& file, const ReadUpTo& position) {
  if (file.inode() != position.inode || position.offset > file.size()) return false;
  const auto mark = mark_of(file, position.offset);
  if (!mark) return pass(mark);
  return *mark == position.mark;
}

/// What one look reads of one file or of two, within its limits.
class Look {
 public:
  Look(const Pattern& pattern, const ReadLimits& limits)
      : pattern_(pattern), bytes_left_(limits.bytes), until_(std::chrono::steady_clock::now() + limits.time) {}

  /// From `offset` on, which it moves. `to_the_end`: nothing will be added, so that a last line without an end is one.
  Status read(const File& file, uint64_t& offset, bool to_the_end) {
    std::string line;
    char buffer[64 * 1024];
    const uint64_t begin = offset;
    uint64_t at = begin;
    while (found_.empty() && bytes_left_ > 0 && (at == begin || !is_over())) {  // each look gets on
      const ssize_t count = ::pread(file.fd.get(), buffer, std::min<uint64_t>(sizeof buffer, bytes_left_), static_cast<off_t>(at));
      if (count < 0) return fail("{}", errno_text());
      if (count == 0) {
        if (to_the_end && !line.empty()) judge(line);
        if (to_the_end) offset = at;
        return {};
      }
      bytes_left_ -= static_cast<uint64_t>(count);
      take(std::string_view(buffer, static_cast<size_t>(count)), line, at, offset);
    }
    // One line that is longer than a look: the next one goes on behind what was read of it.
    if (found_.empty() && lines_ == 0 && at > offset) {
      judge(line);
      offset = at;
    }
    return {};
  }

  const std::string& found() const { return found_; }
  uint64_t lines() const { return lines_; }
  bool is_over() const { return bytes_left_ == 0 || std::chrono::steady_clock::now() >= until_; }

 private:
  void take(std::string_view part, std::string& line, uint64_t& at, uint64_t& offset) {
    while (!part.empty() && found_.empty()) {
      const size_t end = part.find('\n');
      const std::string_view piece = part.substr(0, end);
      line.append(piece.substr(0, kLongestLine - std::min(kLongestLine, line.size())));
      const size_t taken = piece.size() + (end == std::string_view::npos ? 0 : 1);
      at += taken;
      part.remove_prefix(taken);
      if (end == std::string_view::npos) return;
      judge(line);
      line.clear();
      offset = at;
      if (std::chrono::steady_clock::now() >= until_) return;
    }
  }
  void judge(const std::string& line) {
    ++lines_;
    if (pattern_.matches(line)) found_ = line.empty() ? " " : line.substr(0, kShownBytes);
  }

  const Pattern& pattern_;
  uint64_t bytes_left_;
  const std::chrono::steady_clock::time_point until_;
  uint64_t lines_ = 0;
  std::string found_;
};

CheckResult unknown(const std::string& path, const std::string& why) {
  return {Outcome::kCouldNotCheck, fmt::format("cannot read {}: {}", path, why)};
}

}  // namespace

std::optional<ReadUpTo> parse_position(const std::string& text) {
  ReadUpTo position;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto read = [&](uint64_t& into, int base) {
    const auto number = std::from_chars(at, end, into, base);
    at = number.ptr;
    return number.ec == std::errc();
  };
  const auto colon = [&] { return at != end && *at++ == ':'; };
  if (!read(position.inode, 10) || !colon() || !read(position.offset, 10) || !colon() || !read(position.mark, 16)) return std::nullopt;
  return at == end ? std::optional(position) : std::nullopt;
}

std::string to_string(const ReadUpTo& position) { return fmt::format("{}:{}:{:x}", position.inode, position.offset, position.mark); }

namespace {

/// Reads on in one file from an offset, and gives the new position there.
Result<ReadUpTo> read_from(Look& look, const File& file, uint64_t offset, bool to_the_end) {
  if (const auto read = look.read(file, offset, to_the_end); !read) return pass(read);
  const auto mark = mark_of(file, offset);
  if (!mark) return pass(mark);
  return ReadUpTo{file.inode(), offset, *mark};
}

/// The position after a look: in the file of before, which was renamed, or in the one that has the name now. After an error nothing counts
/// as read.
Result<ReadUpTo> read_on(Look& look, const std::string& path, const File& file, const ReadUpTo& position) {
  const auto same = is_same(file, position);
  if (!same) return pass(same);
  if (*same) return read_from(look, file, position.offset, false);
  const auto renamed = position.inode == 0 || position.inode == file.inode() ? std::nullopt : find_renamed(path, position.inode);
  if (renamed) {
    const auto is_it = is_same(*renamed, position);
    if (!is_it) return pass(is_it);
    const bool is_left = file.size() > 0;  // an empty one may still wait for who writes to the other
    if (*is_it) {
      auto read = read_from(look, *renamed, position.offset, is_left);
      if (!read || !is_left || !look.found().empty() || look.is_over()) return read;
    }
  }
  return read_from(look, file, 0, false);
}

}  // namespace

CheckResult check_log(const std::string& path, const std::string& text, std::optional<ReadUpTo>& position, const ReadLimits& limits) {
  const Pattern pattern(text);
  if (!pattern.error().empty())
    return {Outcome::kCouldNotCheck, fmt::format("\"{}\" is no extended regular expression: {}", text, pattern.error())};
  const auto file = open_log(path);
  if (!file) {
    const std::string why = errno == ESPIPE ? "it is no regular file" : errno_text();
    if (!position && errno == ENOENT) position = ReadUpTo{};  // what will be in it is new
    return unknown(path, why);
  }
  if (!position) {
    const auto mark = mark_of(*file, file->size());
    if (!mark) return unknown(path, mark.error().message);
    position = ReadUpTo{file->inode(), file->size(), *mark};
    return {Outcome::kGood, "read from here on"};
  }
  Look look(pattern, limits);
  const auto read = read_on(look, path, *file, *position);
  if (!read) return unknown(path, read.error().message);
  position = *read;
  if (!look.found().empty()) return {Outcome::kBad, fmt::format("{} says: {}", path, look.found())};
  return {Outcome::kGood, fmt::format("{} new line{}", look.lines(), look.lines() == 1 ? "" : "s")};
}

}  // namespace baton::check
