// See helper_process.h.
#include "src/os/helper_process.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "src/os/child_process.h"

namespace baton {

std::string last_lines(const std::string& text, size_t lines) {
  std::vector<std::string> found;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string::npos) found.push_back(std::move(line));
    begin = end + 1;
  }
  if (found.size() > lines) found.erase(found.begin(), found.end() - static_cast<ptrdiff_t>(lines));
  return fmt::format("{}", fmt::join(found, " | "));
}

namespace {

/// Empty: none. Set once, before the first helper; the loop's thread.
std::string helpers_group;
/// The same of those that are begun now, where it is another one.
std::string present_place;

Result<HelperOutput> judge(const HelperRequest& request, const ChildEnd& end) {
  const auto& accepted = request.accepted_statuses;
  const bool ended = end.exited && end.start_error.empty() && !end.timed_out;
  if (ended && std::find(accepted.begin(), accepted.end(), end.status) != accepted.end()) {
    return HelperOutput{end.status, end.output, end.took};
  }
  const std::string lines = last_lines(end.output);
  return fail_as(end.timed_out ? ErrorCode::kTimeout : ErrorCode::kFailed, "{}: `{}` {} after {} ms{}{}{}",
                 request.purpose, fmt::join(request.argv, " "), describe(end), to_ms(end.took),
                 end.timed_out ? fmt::format(" (deadline {} ms)", to_ms(request.deadline)) : "",
                 lines.empty() ? "" : "; it said: ", lines);
}

}  // namespace

void keep_helpers_in(const std::string& control_group) { helpers_group = control_group; }

HelperPlace::HelperPlace(std::string control_group) : before_(std::exchange(present_place, std::move(control_group))) {}

HelperPlace::~HelperPlace() { present_place = std::move(before_); }

void run_helper(EventLoop& loop, HelperRequest request, HelperCallback callback) {
  ChildOptions options;
  options.argv = request.argv;
  options.user = request.user;
  options.environment = request.environment;
  options.deadline = request.deadline;
  options.input = request.input;
  options.control_group = present_place.empty() ? helpers_group : present_place;
  options.shares_control_group = true;
  auto holder = std::make_shared<ChildProcess>();
  // The callback owns the child and is dropped when it has run, which breaks the cycle.
  auto child = ChildProcess::spawn(loop, std::move(options), [holder, request, callback, place = present_place](const ChildEnd& end) {
    const HelperPlace same(place);
    callback(judge(request, end));
  });
  if (child) {
    *holder = std::move(*child);
    return;
  }
  Result<HelperOutput> error = fail("{}: {}", request.purpose, child.error().message);
  loop.post([callback, error] { callback(error); });
}

void read_last_lines(EventLoop& loop, const std::string& log_file, std::function<void(const std::string& lines)> callback) {
  run_helper(loop, {.purpose = "reading " + log_file, .argv = {"tail", "-n", "3", "--", log_file}, .deadline = 1s},
             [callback = std::move(callback)](Result<HelperOutput> output) { callback(output ? last_lines(output->output, 3) : ""); });
}

}  // namespace baton
