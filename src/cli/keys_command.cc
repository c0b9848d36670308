// `baton cluster rotate-keys`: the cluster's key, and all that follows from it, is replaced while everything runs; or the
// certificates alone. docs/operations.md, "Keys".
#include <chrono>
#include <cstdio>
#include <thread>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr milliseconds kLookAgain{200};
constexpr milliseconds kAfterStaging{60000};  // in force, there is nothing to wait for but servers that are there

struct Waited {
  bool ended = false;
  bool called_off = false;
  std::string text;  // what it waits for, or why it was called off
};

Waited look(const json& keys, int64_t number) {
  if (number_of(keys, "number") != number) return {true, false, ""};  // somebody has begun the next one
  if (text_of(keys, "phase") != "none") return {false, false, text_of(keys, "phase") + ": " + text_of(keys, "waiting")};
  if (flag_of(keys, "called_off")) return {true, true, text_of(keys, "reason")};
  if (flag_of(keys, "leftovers")) return {false, false, "the former key is removed here"};
  return {true, false, ""};
}

/// Shows each step until it has ended.
Status wait_for_keys(const Context& context, int64_t number, milliseconds limit) {
  const auto begin = Clock::now();
  std::string shown, last = "batond does not answer";
  while (Clock::now() - begin < limit) {
    if (const auto status = context.api.get("/v1/status", milliseconds(5000))) {
      const Waited waited = look(object_of(*status, "keys"), number);
      if (waited.called_off)
        return fail_as(ErrorCode::kFailed, "the keys stay as they were, the rotation was called off{}{}", waited.text.empty() ? "" : ": ", waited.text);
      if (waited.ended) return {};
      last = waited.text;
    }
    if (last != shown && !context.json)
      fmt::print(stderr, "{:7.1f} s  {}\n", std::chrono::duration<double>(Clock::now() - begin).count(), last);
    shown = last;
    std::this_thread::sleep_for(kLookAgain);
  }
  return fail_as(ErrorCode::kTimeout, "it has not ended after {} s: {}. It goes on by itself; watch it with `baton status`",
                 limit.count() / 1000, last);
}

}  // namespace

Status rotate_keys(const Context& context, const RotateKeysOptions& options) {
  if (options.certificates && options.cancel)
    return fail_as(ErrorCode::kInvalid, "--certificates and --cancel exclude each other");
  json body{{"author", author()}};
  if (options.certificates) body["certificates"] = true;
  else if (options.cancel) body["cancel"] = true;
  else body["timeout_ms"] = options.timeout.count();
  auto done = context.api.post("/v1/cluster/rotate-keys", body.dump());
  if (!done) return pass(done);
  const bool rotates = !options.certificates && !options.cancel;
  if (rotates && options.wait)
    if (auto ended = wait_for_keys(context, number_of(*done, "number"), options.timeout + kAfterStaging); !ended) return ended;
  if (context.json) {
    print_json({{"rotated", rotates && options.wait}, {"certificates", options.certificates}, {"called_off", options.cancel}});
  } else if (options.certificates) {
    print("every mirror daemon issues its certificate anew\n");
  } else if (options.cancel) {
    print("the rotation of the keys is called off\n");
  } else {
    print(options.wait ? "the cluster has new keys, the former ones are good for nothing any more\n"
                       : "the keys are being replaced: see `baton status`\n");
  }
  return {};
}

}  // namespace baton::cli
