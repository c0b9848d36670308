// Makes of corosync's counters, read again and again, what people like to know of the links: loss of the last half minute, and
// whether a link goes down again and again. Pure, one thread.
#pragma once

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "src/base/time.h"
#include "src/model/link_report.h"
#include "src/os/link_status.h"

namespace baton {

class LinkWatch {
 public:
  /// Readings in order of time. No links: corosync is away, and counts anew when it comes back.
  void take(Instant now, const std::vector<LinkStatus>& links);
  /// As of the last reading, in its order.
  const std::vector<LinkReport>& reports() const { return reports_; }

 private:
  struct Reading {
    Instant when{};
    LinkCounters counters;
  };
  struct History {
    std::deque<Reading> readings;  // of the loss window
    std::deque<Instant> downs;     // of the flap window
  };
  LinkReport judge(Instant now, const LinkStatus& link, History& history) const;

  std::map<std::pair<ServerId, uint32_t>, History> histories_;
  std::vector<LinkReport> reports_;
};

}  // namespace baton
