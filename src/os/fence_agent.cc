// See fence_agent.h.
#include "src/os/fence_agent.h"

#include <algorithm>
#include <memory>

#include "src/os/helper_process.h"

namespace baton {
namespace {

constexpr int kStatusOff = 2;  // of an agent's "status" and "monitor"
constexpr Duration kAskAgain = 500ms;

HelperRequest request_for(const FenceDevice& device, const std::string& server, const std::string& action, Duration deadline) {
  HelperRequest request;
  request.purpose = fmt::format("fencing {}: {}", server, action);
  request.argv = {device.agent};
  request.deadline = std::max<Duration>(deadline, 1s);
  // On the standard input, where the agent's password is in nobody's list of processes.
  request.input = fmt::format("action={}\n", action);
  for (const auto& [name, value] : device.options) request.input += fmt::format("{}={}\n", name, value);
  if (action == "status") request.accepted_statuses = {0, kStatusOff};
  return request;
}

/// One change of the power, until the agent's status says the same.
struct Change : std::enable_shared_from_this<Change> {
  Change(EventLoop& on, FenceDevice of, std::string whose, PowerState to, std::function<void(Status)> told)
      : loop(on), device(std::move(of)), server(std::move(whose)), wanted(to), callback(std::move(told)),
        deadline(EventLoop::now() + device.timeout) {}

  void begin() {
    const char* action = wanted == PowerState::kOff ? "off" : "on";
    run_helper(loop, request_for(device, server, action, deadline - EventLoop::now()),
               [self = shared_from_this()](const Result<HelperOutput>& output) {
                 if (!output) return self->callback(pass(output));
                 self->verify();
               });
  }

  void verify() {
    run_helper(loop, request_for(device, server, "status", deadline - EventLoop::now()),
               [self = shared_from_this()](const Result<HelperOutput>& output) {
                 self->judge(output);
               });
  }

  /// A status that cannot be had is asked for again, too: a controller is often busy right after it has cut the power.
  void judge(const Result<HelperOutput>& output) {
    const PowerState found = output && output->status == kStatusOff ? PowerState::kOff : PowerState::kOn;
    if (output && found == wanted) return callback({});
    if (EventLoop::now() + kAskAgain >= deadline) {
      if (!output) return callback(pass(output));
      return callback(fail("fencing {}: {} reported success, but its status still says that the server is {} after {} s: "
                           "look at the agent's options (the right plug?) and at the server",
                           server, device.agent, found == PowerState::kOn ? "on" : "off", to_ms(device.timeout) / 1000));
    }
    again = loop.after(kAskAgain, [self = shared_from_this()] {
      self->again = {};
      self->verify();
    });
  }

  EventLoop& loop;
  FenceDevice device;
  std::string server;
  PowerState wanted;
  std::function<void(Status)> callback;
  Instant deadline;
  EventLoop::Handle again;
};

void change_power(EventLoop& loop, const FenceDevice& device, const std::string& server, PowerState to,
                  std::function<void(Status)> callback) {
  std::make_shared<Change>(loop, device, server, to, std::move(callback))->begin();
}

}  // namespace

void ask_power(EventLoop& loop, const FenceDevice& device, const std::string& server,
               std::function<void(Result<PowerState>)> callback) {
  run_helper(loop, request_for(device, server, "status", device.timeout),
             [callback = std::move(callback)](const Result<HelperOutput>& output) {
               if (!output) return callback(pass(output));
               callback(output->status == kStatusOff ? PowerState::kOff : PowerState::kOn);
             });
}

void cut_power(EventLoop& loop, const FenceDevice& device, const std::string& server, std::function<void(Status)> callback) {
  change_power(loop, device, server, PowerState::kOff, std::move(callback));
}

void restore_power(EventLoop& loop, const FenceDevice& device, const std::string& server,
                   std::function<void(Status)> callback) {
  change_power(loop, device, server, PowerState::kOn, std::move(callback));
}

}  // namespace baton
