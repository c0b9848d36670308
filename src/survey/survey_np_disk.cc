// The disk that two servers have in common (np = "disk"): can it be read past the cache from here, and is it prepared?
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "src/survey/preflight.h"

namespace baton::survey {

namespace {
constexpr size_t kSector = 4096;
constexpr char kMagic[] = "BTNNPD1";  // docs/disk-format.md, "The disk between two servers"
}  // namespace

void check_np_disk(const PreflightOptions& options, Findings& findings) {
  const std::string& path = options.configuration->np_disk;
  const auto* self = options.configuration->server(options.self);
  if (options.configuration->np != NpKind::kDisk || self == nullptr) return;
  const auto add = [&](Verdict verdict, const std::string& text, const std::string& remedy) {
    findings.push_back({"np-disk", path, verdict, text, remedy});
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0)
    return add(Verdict::kProblem, errno == EINVAL ? "it cannot be read past the cache" : fmt::format("it cannot be opened: {}", std::strerror(errno)),
               "give this server the disk by the same name as on the other one, or leave np out");
  const std::unique_ptr<char, decltype(&std::free)> sector(static_cast<char*>(std::aligned_alloc(kSector, kSector)), &std::free);
  const ssize_t got = ::pread(fd, sector.get(), kSector, 0);
  ::close(fd);
  if (got != static_cast<ssize_t>(kSector)) return add(Verdict::kProblem, "it cannot be read, or is too small", "");
  if (std::memcmp(sector.get(), kMagic, sizeof kMagic) != 0)
    return add(Verdict::kWarning, "it is not prepared: until it is, an operator decides", fmt::format("baton cluster np-disk {}, when Baton runs", path));
  add(Verdict::kOk, "prepared, and read past the cache; that the other server has the same one is seen in baton status", "");
}

}  // namespace baton::survey
