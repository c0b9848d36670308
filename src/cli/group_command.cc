// `baton group start|stop|move`: commits the wish, then watches until it is fulfilled and says where it hangs.
#include <strings.h>

#include <chrono>
#include <thread>

#include "src/cli/commands.h"
#include "src/cli/status_view.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr milliseconds kPoll{5000};
constexpr int64_t kGivenUp = 3;  // attempts, as the planner counts them

enum class Outcome { kPending, kReached, kFailed };

class WishWatcher {
 public:
  WishWatcher(const Context& context, const GroupOptions& options, const json& before)
      : context_(context),
        options_(options),
        name_(text_of(before, "name")),
        owner_before_(text_of(before, "owner")),
        begin_(Clock::now()) {}

  Status run(int64_t version) {
    version_ = version;
    auto end = begin_ + options_.timeout;
    std::string cursor;
    while (true) {
      milliseconds left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
      if (left <= 0ms) return give_up();
      milliseconds wait = std::min(left, kPoll);
      std::string query =
          cursor.empty() ? "" : fmt::format("?after={}&timeout_ms={}", ApiClient::escape(cursor), wait.count());
      auto status = context_.api.get("/v1/status" + query, wait + 5s);
      if (!status) {
        // batond may be restarting; the wish is committed and goes on without it.
        last_error_ = status.error().message;
        cursor.clear();
        std::this_thread::sleep_for(std::min(left, milliseconds(200)));
        continue;
      }
      last_error_.clear();
      cursor = text_of(*status, "cursor");
      auto group = find_named(*status, "groups", name_);
      if (!group) return pass(group);
      group_ = *group;
      // A status from before the wish was applied here tells nothing yet.
      if (number_of(group_, "version") < version_) continue;
      show_progress();
      Outcome outcome = judge();
      if (outcome == Outcome::kReached) return report();
      if (outcome == Outcome::kFailed) return fail("{}", failure_);
    }
  }

 private:
  std::string phase() const { return text_of(group_, "phase"); }
  std::string owner() const { return text_of(group_, "owner"); }

  Outcome failed(std::string why) {
    failure_ = std::move(why);
    return Outcome::kFailed;
  }

  bool is_where_wanted() const {
    if (!options_.server.empty()) return strcasecmp(owner().c_str(), options_.server.c_str()) == 0;
    return options_.verb != "move" || owner_before_.empty() || owner() != owner_before_;
  }

  /// Every server of which something is known has failed too often.
  bool given_up() const {
    const json& refused = list_of(group_, "refused");
    if (refused.empty() || text_of(group_, "waiting").empty()) return false;
    for (const json& refusal : refused) {
      if (number_of(refusal, "attempts") < kGivenUp) return false;
    }
    return true;
  }

  Outcome judge() {
    bool wanted = flag_of(group_, "wanted");
    bool newer = number_of(group_, "version") > version_;
    if (options_.verb == "stop") {
      if (wanted && newer)
        return failed(fmt::format("somebody started group {} meanwhile: {}", name_, describe_group(group_)));
      return (phase() == "stopped" || phase() == "failed") && owner().empty() ? Outcome::kReached
                                                                              : Outcome::kPending;
    }
    if (!wanted && newer)
      return failed(fmt::format("somebody stopped group {} meanwhile: {}", name_, text_of(group_, "reason")));
    if (phase() == "started") {
      if (is_where_wanted()) return Outcome::kReached;
      if (newer && text_of(group_, "target").empty()) {
        return failed(fmt::format("group {} runs on {} instead: {}", name_, owner(), explain_refusals()));
      }
    }
    if ((phase() == "stopped" || phase() == "failed") && given_up()) {
      return failed(fmt::format("group {} cannot run: {}", name_, text_of(group_, "waiting")));
    }
    return Outcome::kPending;
  }

  std::string explain_refusals() const {
    std::string text;
    for (const json& refusal : list_of(group_, "refused")) {
      text += fmt::format("{}failed on {}: {}", text.empty() ? "" : "; ", text_of(refusal, "server"),
                          text_of(refusal, "reason"));
    }
    return text.empty() ? text_of(group_, "reason") : text;
  }

  void show_progress() {
    std::string line = describe_group(group_);
    if (line == shown_) return;
    shown_ = line;
    fmt::print(stderr, "{:7.1f} s  {}: {}\n", elapsed_ms() / 1000.0, name_, line);
  }

  int64_t elapsed_ms() const { return std::chrono::duration_cast<milliseconds>(Clock::now() - begin_).count(); }

  Status report() const {
    if (context_.json) {
      print_json({{"group", name_},
                  {"phase", phase()},
                  {"owner", owner()},
                  {"version", number_of(group_, "version")},
                  {"took_ms", elapsed_ms()}});
    } else {
      print(fmt::format("group {} is {}{} (after {:.1f} s)\n", name_, phase(),
                        owner().empty() ? "" : " on " + owner(), elapsed_ms() / 1000.0));
    }
    return {};
  }

  Status give_up() const {
    std::string wish = options_.verb == "stop" ? "stopped" : "started";
    if (!options_.server.empty()) wish += " on " + options_.server;
    std::string standing = group_.is_null() ? "its state is not known" : "it is " + describe_group(group_);
    if (!last_error_.empty()) standing += "; " + last_error_;
    return fail_as(
        ErrorCode::kTimeout,
        "group {} is not {} after {:.1f} s: {}\nThe wish stays; watch it with `baton status --watch`, see why "
        "with `baton explain {}`",
        name_, wish, options_.timeout.count() / 1000.0, standing, name_);
  }

  const Context& context_;
  const GroupOptions& options_;
  std::string name_;
  std::string owner_before_;
  Clock::time_point begin_;
  int64_t version_ = 0;
  json group_;
  std::string shown_;
  std::string failure_;
  std::string last_error_;
};

}  // namespace

Status change_group(const Context& context, const GroupOptions& options) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  auto group = find_named(*status, "groups", options.group);
  if (!group) return pass(group);
  json body{{"author", author()}};
  if (!options.server.empty()) {
    auto server = find_named(*status, "servers", options.server);
    if (!server) return pass(server);
    body["server"] = text_of(*server, "name");
  }
  std::string name = text_of(*group, "name");
  WishWatcher watcher(context, options, *group);
  auto wished =
      context.api.post(fmt::format("/v1/groups/{}/{}", ApiClient::escape(name), options.verb), body.dump());
  if (!wished) return pass(wished);
  if (options.wait) return watcher.run(number_of(*wished, "version"));
  if (context.json) {
    print_json(*wished);
  } else {
    print(fmt::format("group {}: {} asked for; watch it with `baton status --watch`\n", name, options.verb));
  }
  return {};
}

}  // namespace baton::cli
