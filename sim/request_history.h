// The operators' requests against the log (linearizability): who was answered before another one asked comes before it in
// the log, an answer says what the log says, and nothing that was answered is missing where a leader reads. Deterministic, one
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/core/database/database.h"

namespace baton::sim {

class RequestHistory {
 public:
  /// A request begins now. Its author's name carries its number into the log.
  uint64_t begin(bool beside_log = false);
  static std::string author(uint64_t request) { return "operator " + std::to_string(request); }
  void sent(uint64_t request, ServerId server, uint64_t number) { sent_[{server, number}] = request; }

  void committed(const database::Entry& entry, const Applied& outcome);
  /// `decided`: whether the outcome is known.
  void answered(ServerId server, uint64_t number, bool decided, const Applied& outcome);
  /// Entries above `index` are given up.
  void restored(uint64_t index);
  /// Whoever reads now must see everything up to this entry.
  uint64_t answered_up_to() const { return answered_up_to_; }
  uint64_t answers() const { return answers_; }

 private:
  struct Request {
    uint64_t after = 0;  // entries up to here were answered when it began
    uint64_t index = 0;  // in the log; 0: not there
    Applied outcome;
    bool beside_log = false;  // a server may refuse it by itself (a takeover)
  };
  std::vector<Request> requests_;  // by number - 1
  std::map<std::pair<ServerId, uint64_t>, uint64_t> sent_;
  uint64_t answered_up_to_ = 0;
  uint64_t answers_ = 0;
};

}  // namespace baton::sim
