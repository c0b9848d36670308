// `baton mirror status|metrics|verify`: what a mirror does, now or until it is done.
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

#include "src/cli/commands.h"
#include "src/cli/status_view.h"

namespace baton::cli {
namespace {

constexpr milliseconds kRedraw{1000};

bool wants_redraw() { return isatty(STDOUT_FILENO); }

/// The mirror with that name, or all of them, as a list.
Result<json> find_mirrors(const Context& context, const std::string& name) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  if (name.empty()) return list_of(*status, "mirrors");
  auto mirror = find_named(*status, "mirrors", name);
  if (!mirror) return pass(mirror);
  return json::array({*mirror});
}

bool copy_is_under_way(const json& mirrors) {
  for (const json& mirror : mirrors) {
    for (const json& copy : list_of(mirror, "copies")) {
      std::string link = text_of(copy, "link");
      if (link == "copying" || link == "readmitting") return true;
    }
  }
  return false;
}

/// The copy that is in use; nothing if none is.
const json* used_copy(const json& mirror) {
  for (const json& copy : list_of(mirror, "copies"))
    if (text_of(copy, "role") == "primary") return &copy;
  return nullptr;
}

void show_verify_progress(const Context& context, const std::string& key, int64_t elapsed_s) {
  if (context.json || !isatty(STDERR_FILENO)) return;
  std::string line = fmt::format("comparing {}, {} s", key, elapsed_s);
  auto mirrors = find_mirrors(context, key);
  if (mirrors && !mirrors->empty()) {
    const json* copy = used_copy(mirrors->front());
    if (copy != nullptr && text_of(*copy, "copy_reason").starts_with("verify"))
      line = fmt::format("comparing {}  {}", key,
                         progress_bar(static_cast<uint64_t>(number_of(*copy, "copy_done_bytes")),
                                      static_cast<uint64_t>(number_of(*copy, "copy_total_bytes"))));
  }
  fmt::print(stderr, "\r{:<78}", line);
  std::fflush(stderr);
}

Result<json> wait_for_verify(const Context& context, const std::string& key, const VerifyOptions& options) {
  auto asked = std::async(std::launch::async, [&] {
    return context.api.post(fmt::format("/v1/mirrors/{}/verify", ApiClient::escape(key)),
                            json{{"repair", options.repair}, {"author", author()}}.dump(), options.timeout);
  });
  int64_t elapsed_s = 0;
  while (asked.wait_for(kRedraw) != std::future_status::ready) show_verify_progress(context, key, ++elapsed_s);
  if (elapsed_s > 0 && !context.json && isatty(STDERR_FILENO)) fmt::print(stderr, "\r{:<78}\r", "");
  return asked.get();
}

}  // namespace

Status show_mirror(const Context& context, const std::string& name, bool watch) {
  while (true) {
    auto mirrors = find_mirrors(context, name);
    if (!mirrors) return pass(mirrors);
    if (context.json) {
      const json& shown = name.empty() ? *mirrors : mirrors->front();
      watch ? print_json_line(shown) : print_json(shown);
    } else {
      std::string text;
      for (const json& mirror : *mirrors) text += format_mirror_details(mirror, context.painter);
      print((watch && wants_redraw() ? "\033[H\033[2J" : "") + text);
    }
    if (!watch || !copy_is_under_way(*mirrors)) return {};
    std::this_thread::sleep_for(kRedraw);
  }
}

Status show_metrics(const Context& context, const std::string& name, bool watch) {
  while (true) {
    auto mirrors = find_mirrors(context, name);
    if (!mirrors) return pass(mirrors);
    const json& mirror = mirrors->front();
    const json* copy = used_copy(mirror);
    if (copy == nullptr)
      return fail_as(ErrorCode::kConflict, "mirror {} is not in use now: start its group (baton group start {})",
                     text_of(mirror, "name"), text_of(mirror, "group"));
    const json& metrics = object_of(object_of(*copy, "details"), "metrics");
    if (context.json) {
      json shown = metrics;
      shown["mirror"] = text_of(mirror, "name");
      shown["server"] = text_of(*copy, "server");
      watch ? print_json_line(shown) : print_json(shown);
    } else if (metrics.empty()) {
      print(fmt::format("{}: {} has not told its figures yet\n", text_of(mirror, "name"), text_of(*copy, "server")));
    } else {
      print(fmt::format("{} on {}\n{}", text_of(mirror, "name"), text_of(*copy, "server"), format_metrics_line(*copy)));
    }
    if (!watch) return {};
    std::this_thread::sleep_for(kRedraw);
  }
}

Status verify_mirror(const Context& context, const std::string& name, const VerifyOptions& options) {
  auto mirrors = find_mirrors(context, name);
  if (!mirrors) return pass(mirrors);
  const std::string key = text_of(mirrors->front(), "name");
  auto verified = wait_for_verify(context, key, options);
  if (!verified) return pass(verified);
  const int64_t different = number_of(*verified, "different");
  const int64_t repaired = number_of(*verified, "repaired");
  if (context.json) {
    print_json(*verified);
  } else {
    print(fmt::format("{}: {} blocks compared, {} different{}\n", key, number_of(*verified, "blocks"), different,
                      options.repair ? fmt::format(", {} repaired", repaired) : ""));
  }
  if (different > repaired)
    return fail("the copies of mirror {} differ in {} blocks; make them equal with `baton mirror verify {} --repair` "
                "(the copy in use is taken to be right)", key, different - repaired, key);
  return {};
}

}  // namespace baton::cli
