// `baton server|cluster|group` suspend, resume, drain, shutdown, return, release: asks for it, then watches and shows the
// progress until it is done.
#include <chrono>

#include "src/cli/commands.h"
#include "src/cli/status_view.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr milliseconds kPoll{1000};

json body_of(const MaintenanceOptions& options) {
  json body{{"author", author()}};
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (options.lasts > 0ms) body["for_ms"] = options.lasts.count();
  if (options.stop) body["stop"] = true;
  if (options.reboot) body["afterwards"] = "reboot";
  if (options.power_off) body["afterwards"] = "poweroff";
  if (options.verb == "shutdown") body["limit_ms"] = options.timeout.count();
  return body;
}

/// What is left to do, for people, and whether that is nothing.
struct Progress {
  bool done = false;
  std::string text;
};

Progress progress_of_server(const MaintenanceOptions& options, const json& status, const json& server) {
  std::vector<std::string> left;
  for (const json& group : list_of(status, "groups")) {
    if (text_of(group, "owner") == text_of(server, "name")) left.push_back(text_of(group, "name"));
  }
  std::string text;
  for (const json& staying : list_of(server, "staying"))
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", text_of(staying, "group"), text_of(staying, "why"));
  if (options.verb == "drain") return {left.empty(), text.empty() ? "its groups are leaving" : text};
  const bool stopped = text_of(server, "standing") == "stopped";
  return {stopped, !text.empty() ? text : stopped ? "stopped" : "its groups are down, Baton ends"};
}

Progress progress_of_cluster(const json& status) {
  std::vector<std::string> left;
  for (const json& group : list_of(status, "groups")) {
    const std::string phase = text_of(group, "phase");
    if (phase != "stopped" && phase != "failed") left.push_back(fmt::format("{} is {}", text_of(group, "name"), phase));
  }
  std::string text;
  for (const std::string& group : left) text += (text.empty() ? "" : "; ") + group;
  return {flag_of(status, "shut_down"), text.empty() ? "all groups are stopped, the servers end" : text};
}

class Watcher {
 public:
  Watcher(const Context& context, const MaintenanceOptions& options, std::string name)
      : context_(context), options_(options), name_(std::move(name)), begin_(Clock::now()) {}

  Status run() {
    const auto end = begin_ + options_.timeout + 30s;  // what has not moved by then is stopped, which takes its time, too
    std::string cursor;
    while (Clock::now() < end) {
      const std::string query =
          cursor.empty() ? "" : fmt::format("?after={}&timeout_ms={}", ApiClient::escape(cursor), kPoll.count());
      auto status = context_.api.get("/v1/status" + query, kPoll + 10s);
      if (!status) {
        // The batond that was asked ends along with its server.
        if (seen_ && options_.verb == "shutdown") return report("Baton has ended here");
        return pass(status);
      }
      seen_ = true;
      cursor = text_of(*status, "cursor");
      auto progress = look(*status);
      if (!progress) return pass(progress);
      if (progress->done) return report("done");
      show(progress->text);
    }
    return fail_as(ErrorCode::kTimeout, "{} of {} is not done after {:.0f} s: {}. It goes on, and is given up when the groups' own stop time-outs are over, too; watch it with `baton status --watch`",
                   options_.verb, name_, seconds_since_begin(), shown_);
  }

 private:
  Result<Progress> look(const json& status) {
    if (options_.scope == "cluster") {
      if (object_of(status, "shutdown").empty()) return ended_without(status);
      return progress_of_cluster(status);
    }
    auto server = find_named(status, "servers", name_);
    if (!server) return pass(server);
    const char* member = options_.verb == "drain" ? "drain" : "shutdown";
    if (object_of(*server, member).empty()) return ended_without(*server);
    return progress_of_server(options_, status, *server);
  }

  /// Its record is gone, but what was asked for has not come about. `subject`: the cluster or the server.
  tl::unexpected<Error> ended_without(const json& subject) const {
    const std::string why = text_of(subject, "given_up");
    if (why.empty()) return fail("somebody called the {} off meanwhile", options_.verb);
    return fail("the {} of {} was given up: {}", options_.verb, name_, why);
  }

  double seconds_since_begin() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  void show(const std::string& text) {
    if (text == shown_) return;
    shown_ = text;
    fmt::print(stderr, "{:7.1f} s  {}: {}\n", seconds_since_begin(), name_, text);
  }

  Status report(const std::string& how) const {
    if (context_.json) {
      print_json({{"scope", options_.scope}, {"name", name_}, {"verb", options_.verb},
                  {"took_ms", static_cast<int64_t>(seconds_since_begin() * 1000)}});
    } else {
      print(fmt::format("{} of {}: {} (after {:.1f} s)\n", options_.verb, name_, how, seconds_since_begin()));
    }
    return {};
  }

  const Context& context_;
  const MaintenanceOptions& options_;
  std::string name_;
  Clock::time_point begin_;
  std::string shown_;
  bool seen_ = false;
};

/// The path of the call, and the name as the cluster writes it.
Result<std::pair<std::string, std::string>> resolve(const Context& context, const MaintenanceOptions& options) {
  if (options.scope == "cluster") return std::pair<std::string, std::string>{"/v1/cluster/" + options.verb, "the cluster"};
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  const bool group = options.scope == "group";
  const std::string wanted = options.name.empty() ? text_of(*status, "server") : options.name;
  auto found = find_named(*status, group ? "groups" : "servers", wanted);
  if (!found) return pass(found);
  const std::string name = text_of(*found, "name");
  return std::pair<std::string, std::string>{
      fmt::format("/v1/{}/{}/{}", group ? "groups" : "servers", ApiClient::escape(name), options.verb), name};
}

}  // namespace

Status run_maintenance(const Context& context, const MaintenanceOptions& options) {
  if (options.reboot && options.power_off) return fail_as(ErrorCode::kInvalid, "--reboot and --poweroff exclude each other");
  MaintenanceOptions asked = options;
  if (asked.cancel) asked.verb = "cancel";
  const auto place = resolve(context, asked);
  if (!place) return pass(place);
  auto answer = context.api.post(place->first, body_of(asked).dump());
  if (!answer) return pass(answer);
  const bool takes_time = asked.verb == "drain" || asked.verb == "shutdown";
  if (takes_time && asked.wait) return Watcher(context, asked, place->second).run();
  if (context.json) {
    print_json(*answer);
  } else {
    print(fmt::format("{}: {}\n", place->second, takes_time ? asked.verb + " asked for; watch it with `baton status --watch`"
                                                            : asked.verb + ": done"));
  }
  return {};
}

}  // namespace baton::cli
