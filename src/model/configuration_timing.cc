// Reads `timing`, `link_mode` and `link_priorities` of [cluster], and refuses sums that cannot work, with the sum. What corosync
// bears was measured and read in its limits: its resend timer is token / 3.2 and at least 30 ms, knet's threads tick every
// 200 ms.
#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr milliseconds kLongestTiming = 600s;
constexpr milliseconds kShortestToken = 100ms;
constexpr milliseconds kLinkTick = 200ms;
constexpr int kBeatsInLease = 3;

std::string text(milliseconds duration) { return format_duration(duration); }

void check_membership(const TimingProfile& timing, SectionReader& section) {
  ConfigurationFindings& findings = section.findings();
  if (timing.token < kShortestToken) {
    findings.add(section.position_of("token"),
                 "token ({}) must be at least {}: corosync sends a lost token again after token / 3.2 = {}, and "
                 "refuses less than 30 ms for that",
                 text(timing.token), text(kShortestToken), text(timing.token * 10 / 32));
  }
  if (timing.consensus * 10 < timing.token * 12) {
    findings.add(section.position_of("consensus"),
                 "consensus ({}) must be at least 1.2 times token (1.2 x {} = {}): set it to {} or more",
                 text(timing.consensus), text(timing.token), text(timing.token * 12 / 10),
                 text((timing.token * 12 + 9ms) / 10));
  }
}

void check_lease(const TimingProfile& timing, SectionReader& section) {
  ConfigurationFindings& findings = section.findings();
  const milliseconds detection = timing.token + timing.consensus;
  if (timing.lease < detection) {
    findings.add(section.position_of("lease"),
                 "lease ({}) must be at least token + consensus ({} + {} = {}): nobody renews it while a lost server "
                 "is noticed, so every loss would freeze the groups of the others",
                 text(timing.lease), text(timing.token), text(timing.consensus), text(detection));
  }
  if (timing.lease < timing.beat * kBeatsInLease) {
    findings.add(section.position_of(section.find("beat") ? "beat" : "lease"),
                 "lease ({}) must be at least {} times beat ({} x {} = {}): it is renewed by one beat and the answer "
                 "in another, and one may be lost",
                 text(timing.lease), kBeatsInLease, kBeatsInLease, text(timing.beat),
                 text(timing.beat * kBeatsInLease));
  }
}

void check_pings(const TimingProfile& timing, SectionReader& section) {
  ConfigurationFindings& findings = section.findings();
  const milliseconds tick_sum = timing.link_ping_interval + kLinkTick;
  const milliseconds least = std::max(tick_sum, timing.link_ping_interval * 2);
  if (timing.link_ping_timeout < least) {
    findings.add(section.position_of("link_ping_timeout"),
                 "link_ping_timeout ({}) must be at least {}: twice link_ping_interval (2 x {} = {}), and "
                 "link_ping_interval + {} ({}), since corosync looks at its links every {}. Shorter ones drop links "
                 "that are well",
                 text(timing.link_ping_timeout), text(least), text(timing.link_ping_interval),
                 text(timing.link_ping_interval * 2), text(kLinkTick), text(tick_sum), text(kLinkTick));
  }
}

void read_timing_table(const TomlValue& table, ConfigurationDraft& draft) {
  SectionReader section(table, "cluster.timing", draft.findings);
  TimingProfile timing;
  std::string profile = "lan";
  if (section.read_string("profile", profile)) {
    if (auto known = timing_profile(profile)) {
      timing = *known;
    } else {
      draft.findings.add(section.position_of("profile"), "unknown timing profile \"{}\": use fast, lan or wan",
                         profile);
    }
  }
  timing.name = "custom";
  bool own_token = section.read_duration("token", 50ms, kLongestTiming, timing.token);
  bool own_consensus = section.read_duration("consensus", 60ms, kLongestTiming, timing.consensus);
  // What follows from token is derived unless it is given (docs/protocol.md, "Timing").
  if (own_token && !own_consensus) timing.consensus = (timing.token * 12 + 9ms) / 10;
  if (own_token || own_consensus) timing.lease = (timing.token + timing.consensus) * 5 / 4;
  section.read_duration("lease", 100ms, kLongestTiming, timing.lease);
  timing.beat = std::min(timing.beat, std::max(timing.lease / 11, milliseconds(10)));
  section.read_duration("beat", 10ms, kLongestTiming, timing.beat);
  section.read_duration("link_ping_interval", 10ms, kLongestTiming, timing.link_ping_interval);
  section.read_duration("link_ping_timeout", 20ms, kLongestTiming, timing.link_ping_timeout);
  section.read_duration("restart_grace", 0ms, kLongestTiming, timing.restart_grace);
  section.finish();
  check_membership(timing, section);
  check_lease(timing, section);
  check_pings(timing, section);
  draft.configuration.timing = timing;
}

/// In passive mode nothing else carries the token while a dead link has not been noticed.
void check_passive(SectionReader& cluster, ConfigurationDraft& draft) {
  const TimingProfile& timing = draft.configuration.timing;
  const milliseconds blind = timing.link_ping_timeout + kLinkTick;
  if (draft.configuration.link_mode != LinkMode::kPassive || blind < timing.token) return;
  draft.findings.add(cluster.position_of("link_mode"),
                     "link_mode \"passive\" leaves a dead link after link_ping_timeout + {} ({} + {} = {}), but the "
                     "servers are given up after token ({}): use \"active\", or a token above {}",
                     text(kLinkTick), text(timing.link_ping_timeout), text(kLinkTick), text(blind),
                     text(timing.token), text(blind));
}

void read_priorities(SectionReader& cluster, ConfigurationDraft& draft) {
  const TomlValue* value = cluster.find("link_priorities");
  if (!value) return;
  if (value->kind != TomlValue::Kind::kArray) {
    draft.findings.add(value->position,
                       "\"link_priorities\" must be a list of numbers, one for each link, not {}: write for instance "
                       "[10, 5]",
                       describe_kind(value->kind));
    return;
  }
  for (const TomlValue& item : value->items) {
    if (item.kind != TomlValue::Kind::kInteger || item.integer < 0 || item.integer > 255) {
      draft.findings.add(item.position, "a link's priority must be a number from 0 to 255; the highest is preferred");
    }
    draft.configuration.link_priorities.push_back(static_cast<uint32_t>(std::clamp<int64_t>(item.integer, 0, 255)));
  }
}

}  // namespace

void read_timing(SectionReader& cluster, ConfigurationDraft& draft) {
  const TomlValue* value = cluster.find("timing");
  if (!value) return;
  if (value->kind == TomlValue::Kind::kTable) {
    read_timing_table(*value, draft);
  } else if (value->kind != TomlValue::Kind::kString) {
    draft.findings.add(value->position,
                       "\"timing\" must be the name of a profile, not {}: use \"fast\", \"lan\" or \"wan\"",
                       describe_kind(value->kind));
  } else if (auto profile = timing_profile(value->text)) {
    draft.configuration.timing = *profile;
  } else {
    draft.findings.add(value->position, "unknown timing profile \"{}\": use \"fast\", \"lan\" or \"wan\"",
                       value->text);
  }
}

void read_links(SectionReader& cluster, ConfigurationDraft& draft) {
  std::string mode;
  if (cluster.read_string("link_mode", mode)) {
    if (mode == "passive") {
      draft.configuration.link_mode = LinkMode::kPassive;
    } else if (mode != "active") {
      draft.findings.add(cluster.position_of("link_mode"),
                         "unknown link_mode \"{}\": use \"active\" (every packet over all links) or \"passive\" (over "
                         "the preferred link that is up)",
                         mode);
    }
  }
  check_passive(cluster, draft);
  read_priorities(cluster, draft);
}

void check_link_priorities(ConfigurationDraft& draft) {
  Configuration& configuration = draft.configuration;
  const size_t links = configuration.servers.empty() ? 0 : configuration.servers.front().interconnects.size();
  if (configuration.link_priorities.empty()) {
    for (size_t link = 0; link < links; ++link)
      configuration.link_priorities.push_back(static_cast<uint32_t>(links - link));
  } else if (configuration.link_priorities.size() != links && links > 0) {
    draft.findings.add(draft.findings.position("cluster.link_priorities"),
                       "there are {} link_priorities, but each server has {} interconnects: give one priority for "
                       "each, in their order",
                       configuration.link_priorities.size(), links);
  }
}

}  // namespace baton
