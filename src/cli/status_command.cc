// `baton status`, `group list`, `mirror list`.
#include <unistd.h>

#include <thread>

#include "src/cli/commands.h"
#include "src/cli/links_view.h"
#include "src/cli/status_view.h"

namespace baton::cli {
namespace {

constexpr milliseconds kWatchWait{10000};

std::string shown(const json& status, const Painter& painter, bool links) {
  return links ? format_links(collect_links(status), painter) : format_status(status, painter);
}

/// Shows every change until the person ends it. A batond that restarts is waited for.
Status watch_status(const Context& context, bool links) {
  bool terminal = isatty(STDOUT_FILENO);
  std::string cursor;
  bool reached = false;
  while (true) {
    std::string query =
        cursor.empty() ? ""
                       : fmt::format("?after={}&timeout_ms={}", ApiClient::escape(cursor), kWatchWait.count());
    auto status = context.api.get("/v1/status" + query, kWatchWait + 10s);
    if (!status) {
      if (!reached) return pass(status);
      fmt::print(stderr, "baton: {}; trying again\n", status.error().message);
      cursor.clear();
      std::this_thread::sleep_for(1s);
      continue;
    }
    reached = true;
    bool changed = cursor != text_of(*status, "cursor");
    cursor = text_of(*status, "cursor");
    if (!changed) continue;
    if (context.json) {
      print_json_line(links ? collect_links(*status) : *status);
    } else {
      print((terminal ? "\033[H\033[2J" : "") + shown(*status, context.painter, links) +
            (terminal ? "" : "\n"));
    }
  }
}

}  // namespace

Status show_status(const Context& context, bool watch, bool links) {
  if (watch) return watch_status(context, links);
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  if (context.json) {
    print_json(links ? collect_links(*status) : *status);
  } else {
    print(shown(*status, context.painter, links));
  }
  return {};
}

Status list_groups(const Context& context) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  if (context.json) {
    print_json(list_of(*status, "groups"));
  } else {
    print(format_groups(*status, context.painter, false));
  }
  return {};
}

Status list_mirrors(const Context& context) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  if (context.json) {
    print_json(list_of(*status, "mirrors"));
  } else {
    print(format_mirrors(*status, context.painter));
  }
  return {};
}

}  // namespace baton::cli
