// See leftover_helpers.h.
#include "src/daemon/leftover_helpers.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "src/os/control_group.h"
#include "src/os/helper_process.h"

namespace baton {
namespace {

constexpr const char* kCommon = "helpers";  // a resource's control group has a dot in its name
constexpr Duration kLimit = seconds(3);
constexpr Duration kRetry = milliseconds(500);

std::string name_of(const std::string& group) { return std::string(kCommon) + "-" + group; }

}  // namespace

LeftoverHelpers::LeftoverHelpers(EventLoop& loop) : loop_(loop) { when_place_clear(kCommon, [] {}); }

LeftoverHelpers::~LeftoverHelpers() { *alive_ = false; }

void LeftoverHelpers::when_clear(const std::string& group, std::function<void()> then) {
  when_place_clear(kCommon, [this, name = name_of(group), then = std::move(then)] { when_place_clear(name, then); });
}

std::string LeftoverHelpers::place(const std::string& group) const { return places_.at(name_of(group)).path; }

void LeftoverHelpers::when_place_clear(const std::string& name, std::function<void()> then) {
  Place& place = places_[name];
  if (place.clear) return then();
  place.waiting.push_back(std::move(then));
  if (!std::exchange(place.begun, true)) end_all(name);
}

// SAFETY: B1. A mount that ends after its batond would bring to life what the next one has found to be down.
void LeftoverHelpers::end_all(const std::string& name) {
  const auto path = service_group_path(name);
  if (!path) {
    spdlog::warn("helper processes cannot be watched across a restart: {}", path.error().message);
    return cleared(name, "");
  }
  clear_control_group(loop_, *path, kLimit, [this, alive = alive_, name, path = *path](const Status& ended) {
    if (!*alive) return;
    if (!ended) {
      spdlog::warn("no step is taken before the helper processes of an earlier batond have ended: {}", ended.error().message);
      places_[name].retry = loop_.after(kRetry, [this, name] { end_all(name); });
      return;
    }
    const auto made = create_control_group(path);
    if (!made) spdlog::warn("helper processes cannot be watched across a restart: {}", made.error().message);
    cleared(name, made ? path : "");
  });
}

void LeftoverHelpers::cleared(const std::string& name, const std::string& path) {
  Place& place = places_[name];
  place.clear = true;
  place.path = path;
  if (name == kCommon) keep_helpers_in(path);
  for (const auto& then : std::exchange(place.waiting, {})) then();
}

}  // namespace baton
