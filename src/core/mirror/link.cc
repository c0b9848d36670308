// See link.h.
#include "src/core/mirror/link.h"

#include <algorithm>

#include "src/base/beat.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

void Link::opened(ConnectionId connection) {
  connection_ = connection;
  newest_ = std::max(newest_, connection);
  last_heard_ = core_.now();
  next_ping_ = next_beat(core_.now(), core_.settings.ping_interval);
}

void Link::heard() { last_heard_ = core_.now(); }

void Link::send(Message message, BufferId buffer) {
  if (connection_ == 0) return;
  core_.operations.emit(SendMessage{connection_, std::move(message), buffer});
}

uint64_t Link::ask() {
  questions_.push_back({core_.now(), false});
  return next_sequence_++;
}

void Link::answered(uint64_t sequence) {
  const uint64_t first = next_sequence_ - questions_.size();
  if (sequence < first || sequence >= next_sequence_) return;
  Question& question = questions_[sequence - first];
  if (!question.answered) {
    ++core_.counters.peer_answers;
    core_.counters.peer_time += core_.now() - question.asked;
  }
  question.answered = true;
  while (!questions_.empty() && questions_.front().answered) questions_.pop_front();
}

Duration Link::oldest_unanswered() const {
  return questions_.empty() || connection_ == 0 ? Duration::zero() : core_.now() - questions_.front().asked;
}

Duration Link::peer_timeout() const { return core_.settings.peer_timeout; }

void Link::gone() {
  connection_ = 0;
  questions_.clear();
}

void Link::close(const std::string& reason) {
  if (connection_ == 0) return;
  core_.operations.emit(CloseLink{connection_, reason});
  gone();
}

bool Link::tick() {
  if (connection_ == 0) return false;
  if (core_.now() >= last_heard_ + core_.settings.link_timeout) return true;
  if (core_.now() >= next_ping_) {
    next_ping_ = next_beat(core_.now(), core_.settings.ping_interval);
    send(Ping{});
  }
  return false;
}

Instant Link::next_tick() const {
  if (connection_ == 0) return kNever;
  Instant tick = std::min(next_ping_, last_heard_ + core_.settings.link_timeout);
  if (!questions_.empty()) want_tick(tick, questions_.front().asked + peer_timeout());
  return tick;
}

}  // namespace baton::mirror
