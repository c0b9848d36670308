// `baton mirror force`: an operator takes a copy for the data although it may lack something. Shows what each copy holds and
// what would be lost, and asks.
#include <chrono>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& item) {
  for (const std::string& one : list)
    if (one == item) return true;
  return false;
}

std::string format_age(int64_t milliseconds_ago) {
  const int64_t seconds_ago = std::max<int64_t>(milliseconds_ago, 0) / 1000;
  if (seconds_ago < 120) return fmt::format("{} s", seconds_ago);
  if (seconds_ago < 7200) return fmt::format("{} min", seconds_ago / 60);
  if (seconds_ago < 172800) return fmt::format("{} h", seconds_ago / 3600);
  return fmt::format("{} days", seconds_ago / 86400);
}

struct Holdings {
  std::vector<std::string> lines;
  bool in_sync = false;
  bool reported = false;
};

Holdings describe_holdings(const json& mirror, const json& copy, int64_t now_ms) {
  Holdings holdings;
  const std::string server = text_of(copy, "server");
  holdings.in_sync = contains(texts_of(mirror, "in_sync"), server);
  holdings.reported = flag_of(copy, "reported");
  const bool unknown = mirror.contains("in_sync_known") && !flag_of(mirror, "in_sync_known");
  if (unknown) {
    holdings.lines.push_back("whether it has everything is not known: the cluster database was restored from a backup");
  } else if (holdings.in_sync) {
    holdings.lines.push_back("in sync: it has every acknowledged write");
  } else if (copy.contains("in_sync_until_ms")) {
    const int64_t when = number_of(copy, "in_sync_until_ms");
    holdings.lines.push_back(when == 0 ? "not in sync; since when is not known"
                                       : fmt::format("not in sync since {} ({} ago)", format_time(when),
                                                     format_age(now_ms - when)));
  } else {
    holdings.lines.push_back("was never in sync");
  }
  if (!holdings.reported) {
    holdings.lines.push_back("does not report: its server or its mirror daemon is down");
    return holdings;
  }
  const json& generation = object_of(copy, "generation");
  if (number_of(generation, "counter") == 0) {
    holdings.lines.push_back("blank: nothing was ever written to it");
  } else {
    const uint64_t random =
        generation.contains("random") && generation["random"].is_number_unsigned() ? generation["random"].get<uint64_t>()
                                                                                   : 0;
    holdings.lines.push_back(fmt::format("data generation {}-{:016x}", number_of(generation, "counter"), random));
  }
  if (unknown) holdings.lines.push_back(fmt::format("was last used under permit {}: the greater, the later", number_of(copy, "permit")));
  if (flag_of(copy, "detached")) holdings.lines.push_back("its disk failed");
  if (!flag_of(copy, "consistent"))
    holdings.lines.push_back(flag_of(copy, "snapshot")
                                 ? "inconsistent: a copy to it was not finished, but the state before it is kept"
                                 : "INCONSISTENT: a copy to it was not finished; its filesystem may be unreadable");
  if (const int64_t dirty = number_of(copy, "dirty_bytes"); dirty > 0)
    holdings.lines.push_back(fmt::format("{} written here that the other copy lacks",
                                         short_size(static_cast<uint64_t>(dirty))));
  return holdings;
}

struct Decision {
  json copies = json::array();  // server, in_sync, holdings
  std::vector<std::string> losses;
  std::string text;
};

/// What would be lost if the copy of `server` became the data.
Decision judge(const json& mirror, const std::string& server, int64_t now_ms) {
  Decision decision;
  bool chosen_in_sync = false;
  for (const json& copy : list_of(mirror, "copies")) {
    const std::string name = text_of(copy, "server");
    const Holdings holdings = describe_holdings(mirror, copy, now_ms);
    decision.copies.push_back({{"server", name}, {"in_sync", holdings.in_sync}, {"holds", holdings.lines}});
    decision.text += fmt::format("{}{}\n", name, name == server ? "   <- would become the data" : "");
    for (const std::string& line : holdings.lines) decision.text += wrap_text(line, 4);
    const int64_t dirty = number_of(copy, "dirty_bytes");
    if (name == server) {
      chosen_in_sync = holdings.in_sync;
      if (!flag_of(copy, "consistent")) decision.losses.push_back("the copy is inconsistent: any part of it may be old or torn");
      if (number_of(object_of(copy, "generation"), "counter") == 0) decision.losses.push_back("all data: the copy is blank");
    } else if (dirty > 0) {
      decision.losses.push_back(fmt::format("{} that were written on {} only", short_size(static_cast<uint64_t>(dirty)), name));
    }
  }
  if (!chosen_in_sync && decision.losses.empty())
    decision.losses.push_back("what was acknowledged since this copy was last in sync; how much is not known");
  return decision;
}

std::string join_losses(const std::vector<std::string>& losses) {
  std::string text;
  for (const std::string& loss : losses) text += (text.empty() ? "" : "; ") + loss;
  return text.empty() ? "nothing that is known of" : text;
}

Status ask_person(const Decision& decision, const std::string& key, const std::string& server) {
  const auto question = fmt::format("What the copies of {} hold:\n{}\nLost would be: {}. The copy of {} becomes the data.", key,
                                    decision.text, join_losses(decision.losses), server);
  return ask_for_name(question, server, "if the loss is accepted, say --yes-lose-data", false);
}

}  // namespace

Status force_mirror(const Context& context, const std::string& name, const std::string& server, bool yes) {
  auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  auto mirror = find_named(*status, "mirrors", name);
  if (!mirror) return pass(mirror);
  auto known = find_named(*status, "servers", server);
  if (!known) return pass(known);
  const std::string key = text_of(*mirror, "name");
  const std::string chosen = text_of(*known, "name");
  const int64_t now_ms = std::chrono::duration_cast<milliseconds>(
      std::chrono::system_clock::now().time_since_epoch()).count();
  const Decision decision = judge(*mirror, chosen, now_ms);
  if (!yes)
    if (auto asked = ask_person(decision, key, chosen); !asked) return asked;
  const json body{{"server", chosen}, {"author", author()}, {"loss", join_losses(decision.losses)},
                  {"version", number_of(*mirror, "version")}};
  auto forced = context.api.post(fmt::format("/v1/mirrors/{}/force", ApiClient::escape(key)), body.dump());
  if (!forced) return pass(forced);
  if (context.json) {
    print_json({{"mirror", key}, {"server", chosen}, {"version", number_of(*forced, "version")},
                {"loss", decision.losses}, {"copies", decision.copies}});
  } else {
    print(fmt::format("the copy of mirror {} on {} is its data now. Lost: {}.\nStart the group there: baton group start "
                      "{} {}\n", key, chosen, join_losses(decision.losses), key.substr(0, key.find('.')), chosen));
  }
  return {};
}

}  // namespace baton::cli
