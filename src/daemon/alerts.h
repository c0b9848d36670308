// Alerts: feeds the pure AlertCore with what is noted and what servers say, and carries out what it wants. One thread: the loop's.
// docs/operations.md, "Alerts".
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "src/core/alert/alert_core.h"
#include "src/daemon/alert_sender.h"
#include "src/daemon/event_store.h"

namespace baton {

class Alerts {
 public:
  struct Links {
    std::function<void(const Note&)> note;
    std::function<void()> changed;                  // something that status shows
    std::function<const Configuration&()> present;  // who servers are, and which alerts there are
  };

  /// `store` lives longer.
  Alerts(EventLoop& loop, ServerId self, EventStore& store, Links links);

  /// The configuration has changed, or is there at all.
  void configure();
  void recorded(const Event& event);
  void members(const std::set<ServerId>& answering);
  void heard(ServerId from, const std::vector<AlertReport>& reports);
  std::vector<AlertReport> reports() const { return core_.reports(); }

  /// A test event, now, whatever else waits; what the receiver said.
  void test(const AlertConfiguration& alert, const std::string& author, AlertSender::Done done);

  nlohmann::json status() const;

 private:
  void feed(const alert::Input& input);
  void carry_out(alert::Action& action);
  AlertMessage message_of(const AlertConfiguration& alert, Event event) const;

  EventLoop& loop_;
  ServerId self_;
  EventStore& store_;
  Links links_;
  alert::AlertCore core_;
  AlertSender sender_;
  std::vector<AlertConfiguration> configured_;
  EventLoop::Handle timer_;
  Instant timer_at_ = kNever;
};

}  // namespace baton
