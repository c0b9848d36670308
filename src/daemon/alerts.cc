// See alerts.h.
#include "src/daemon/alerts.h"

#include "src/base/overloaded.h"
#include "src/daemon/wall_clock.h"

namespace baton {

using nlohmann::json;

Alerts::Alerts(EventLoop& loop, ServerId self, EventStore& store, Links links)
    : loop_(loop),
      self_(self),
      store_(store),
      links_(std::move(links)),
      core_(self, store.alerts_before_start(), EventLoop::now(), wall_now_ms()),
      sender_(loop) {}

void Alerts::configure() {
  const auto& wanted = links_.present().alerts;
  if (wanted == configured_) return;
  configured_ = wanted;
  feed(alert::Configured{configured_});
  links_.changed();
}

void Alerts::recorded(const Event& event) { feed(alert::Recorded{event}); }

void Alerts::members(const std::set<ServerId>& answering) { feed(alert::Members{answering}); }

void Alerts::heard(ServerId from, const std::vector<AlertReport>& reports) { feed(alert::Heard{from, reports}); }

void Alerts::feed(const alert::Input& input) {
  std::vector<alert::Action> actions;
  core_.step(EventLoop::now(), input, actions);
  for (auto& action : actions) carry_out(action);
  const Instant next = core_.next_tick();
  if (next == timer_at_ && timer_.active()) return;
  timer_at_ = next;
  timer_ = loop_.at(next, [this] {
    timer_at_ = kNever;
    feed(alert::Tick{});
  });
}

void Alerts::carry_out(alert::Action& action) {
  std::visit(Overloaded{
                 [&](alert::Deliver& deliver) {
                   sender_.send(deliver.alert, message_of(deliver.alert, deliver.event),
                                [this, token = deliver.token](const Result<std::string>& answer) {
                                  feed(alert::Delivered{token, answer.has_value(), answer ? "" : answer.error().message});
                                  links_.changed();
                                });
                 },
                 [&](alert::Keep& keep) { store_.keep_progress(keep.name, keep.progress); },
                 [&](alert::Forget& forget) { store_.keep_progress(forget.name, std::nullopt); },
                 // Later: it is an event itself, which comes back here.
                 [&](Note& note) { loop_.post([note = links_.note, text = note] { note(text); }); },
             },
             action);
}

AlertMessage Alerts::message_of(const AlertConfiguration& alert, Event event) const {
  const Configuration& present = links_.present();
  const std::string self = present.server_name(self_);
  if (event.server.empty()) {  // made here just now, and in no log
    event.server = self;
    event.time_ms = wall_now_ms();
  }
  return {std::move(event), present.cluster_name, self, alert.name};
}

void Alerts::test(const AlertConfiguration& alert, const std::string& author, AlertSender::Done done) {
  Event event;
  event.note.kind = "alert";
  event.note.text = "this is a test of the alert " + alert.name + ", asked for by " + author;
  AlertConfiguration tried = alert;
  tried.name += "/test";  // with threads of its own: an attempt that is under way does not hold it up
  sender_.send(tried, message_of(alert, std::move(event)), std::move(done));
}

json Alerts::status() const {
  const Instant now = EventLoop::now();
  const auto ago_ms = [&](Instant when) { return when == Instant{} ? json(nullptr) : json(to_ms(now - when)); };
  json list = json::array();
  for (const alert::View& view : core_.views())
    list.push_back({{"name", view.name},
                    {"kind", to_string(view.kind)},
                    {"target", view.target},
                    {"sender", view.sender == ServerId{} ? "" : links_.present().server_name(view.sender)},
                    {"state", view.failing_since != Instant{} ? "failing" : view.waiting > 0 ? "sending" : "good"},
                    {"waiting", view.waiting},
                    {"not_sent", view.untold},
                    {"last_sent_ago_ms", ago_ms(view.last_told)},
                    {"failing_for_ms", ago_ms(view.failing_since)},
                    {"problem", view.problem}});
  return list;
}

}  // namespace baton
