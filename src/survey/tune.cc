// What is made of the figures (tune.h). The margins: a token that is lost by a pause must not be, so the worst pause seen counts four
// times, since watching for a while sees less than a year does.
#include "src/survey/tune.h"

#include <fmt/format.h>

#include <algorithm>

namespace baton::survey {
namespace {

constexpr int64_t kPauseMargin = 4;
constexpr int64_t kTripMargin = 4;
constexpr int64_t kBaseMs = 50;        // what corosync and the kernel take of every round, generously
constexpr int64_t kStepMs = 50;        // recommended tokens are multiples of it
constexpr double kLossLimit = 0.01;
constexpr int64_t kSlowFlushUs = 100000;
constexpr uint64_t kFewestSamples = 100;

int64_t ceil_ms(int64_t microseconds) { return (microseconds + 999) / 1000; }

std::string ms(int64_t microseconds) { return fmt::format("{:.1f} ms", static_cast<double>(microseconds) / 1000); }

/// The worst pause of what runs corosync; without real-time that is the ordinary one.
int64_t judge_pauses(const TuneFigures& figures, Recommendation& made) {
  const Distribution& pauses = figures.has_real_time ? figures.real_time : figures.normal;
  made.reasons.push_back(fmt::format("timers at {} priority fired up to {} late; counted {} times: {} ms",
                                     figures.has_real_time ? "real-time" : "ordinary", ms(pauses.worst_us()), kPauseMargin,
                                     kPauseMargin * ceil_ms(pauses.worst_us())));
  if (!figures.has_real_time)
    made.warnings.push_back(fmt::format("real-time priority is not to be had here ({}): corosync would run without it, too",
                                        figures.why_no_real_time));
  if (pauses.count() < kFewestSamples)
    made.warnings.push_back(fmt::format("only {} timers were seen: watch longer", pauses.count()));
  return kPauseMargin * ceil_ms(pauses.worst_us());
}

/// A token goes over the best link to each server: a bad one of several costs nothing in active mode.
int64_t judge_network(const TuneFigures& figures, Recommendation& made) {
  int64_t needed = 0;
  std::vector<std::string> peers;
  for (const auto& way : figures.network)
    if (std::find(peers.begin(), peers.end(), way.peer) == peers.end()) peers.push_back(way.peer);
  for (const auto& peer : peers) {
    const NetworkFigures* best = nullptr;
    for (const auto& way : figures.network) {
      if (way.peer != peer) continue;
      const double loss = way.sent == 0 ? 1 : static_cast<double>(way.lost) / static_cast<double>(way.sent);
      if (way.round_trip.count() == 0) {
        made.warnings.push_back(fmt::format("{} does not answer on link {}: nothing is known of it", peer, way.link));
        continue;
      }
      if (loss > kLossLimit)
        made.warnings.push_back(fmt::format("link {} to {} loses {:.1f}% of the packets: mend it first", way.link, peer, loss * 100));
      if (best == nullptr || way.round_trip.worst_us() < best->round_trip.worst_us()) best = &way;
    }
    if (best == nullptr) continue;
    const int64_t part = kTripMargin * ceil_ms(best->round_trip.worst_us());
    made.reasons.push_back(fmt::format("the slowest answer of {} took {} on its best link ({}); counted {} times: {} ms", peer,
                                       ms(best->round_trip.worst_us()), best->link, kTripMargin, part));
    needed = std::max(needed, part);
  }
  if (figures.network.empty()) made.warnings.push_back("no other server is known: the network was not watched");
  return needed;
}

void judge_flushes(const TuneFigures& figures, Recommendation& made) {
  if (figures.flush.count() == 0) {
    made.warnings.push_back(fmt::format("flushes in {} could not be watched: {}", figures.flush_directory, figures.why_no_flush));
  } else if (figures.flush.worst_us() > kSlowFlushUs) {
    made.warnings.push_back(fmt::format("a flush in {} took {}: a failover waits for a few of them, whatever the profile",
                                        figures.flush_directory, ms(figures.flush.worst_us())));
  }
}

}  // namespace

Recommendation recommend(const TuneFigures& figures) {
  Recommendation made;
  const int64_t pauses = judge_pauses(figures, made);
  const int64_t network = judge_network(figures, made);
  judge_flushes(figures, made);
  made.needed = milliseconds(pauses + network + kBaseMs);
  made.reasons.push_back(fmt::format("with {} ms for corosync itself: token at least {} + {} + {} = {} ms", kBaseMs, pauses,
                                     network, kBaseMs, made.needed.count()));
  for (const char* name : {"fast", "lan", "wan"}) {
    const auto profile = timing_profile(name);
    if (profile->token < made.needed) continue;
    made.profile = name;
    made.token = profile->token;
    // The lease is renewed by beats at ordinary priority.
    const int64_t spare = (profile->lease - 3 * profile->beat).count();
    if (kPauseMargin * ceil_ms(figures.normal.worst_us()) <= spare) return made;
    made.reasons.push_back(fmt::format("{}: timers at ordinary priority fired up to {} late, and the lease spares {} ms for {} such "
                                       "pauses: a longer profile", name, ms(figures.normal.worst_us()), spare, kPauseMargin));
  }
  const milliseconds wanted = std::max(made.needed, milliseconds(kPauseMargin * ceil_ms(figures.normal.worst_us())));
  made.profile = "custom";
  made.token = milliseconds((wanted.count() + kStepMs - 1) / kStepMs * kStepMs);
  return made;
}

}  // namespace baton::survey
