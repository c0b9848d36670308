// Reads what groups say about one another and about their servers' capacity, and refuses what can never be. All of these
// keys are of level 3 (docs/protocol.md, "Levels"): they are judged by every voter when a group is given to a server.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "src/model/configuration_readers.h"
#include "src/model/placement.h"

namespace baton {
namespace {

constexpr uint32_t kLevel = 3;
constexpr int64_t kMost = int64_t{1} << 53;

/// `key = { memory_mb = 4096 }`. Says whether it is there.
bool read_amounts(SectionReader& section, const std::string& key, Amounts& into) {
  const TomlValue* value = section.find(key);
  if (value == nullptr) return false;
  ConfigurationFindings& findings = section.findings();
  if (value->kind != TomlValue::Kind::kTable) {
    findings.add(value->position, "\"{}\" must be a table: write for instance {} = {{ memory_mb = 4096 }}", key, key);
    return true;
  }
  for (const TomlEntry& entry : value->entries) {
    check_name(entry.key, entry.position, findings);
    if (entry.value.kind != TomlValue::Kind::kInteger || entry.value.integer < 0 || entry.value.integer > kMost) {
      findings.add(entry.value.position, "\"{}\" must be a whole number from 0 to {}: write for instance {} = 4096", entry.key, kMost,
                   entry.key);
      continue;
    }
    into[entry.key] = static_cast<uint64_t>(entry.value.integer);
  }
  return true;
}

class PlacementCheck {
 public:
  explicit PlacementCheck(ConfigurationDraft& draft) : draft_(draft), groups_(draft.configuration.groups) {}

  void run() {
    for (GroupConfiguration& group : groups_) {
      resolve(group, "start_after", group.start_after);
      resolve(group, "with", group.with);
      resolve(group, "apart_from", group.apart_from);
      resolve(group, "prefer_apart_from", group.prefer_apart_from);
      resolve(group, "prefer_with", group.prefer_with);
    }
    const bool ordered = !report_circle();
    if (ordered) note_followers();
    for (const GroupConfiguration& group : groups_) {
      check_preferences(group);
      if (group.with.empty())
        check_room(group, group.needs, group.servers);
      else if (ordered)
        check_company(group);
    }
  }

 private:
  SourcePosition position_of(const GroupConfiguration& group, const std::string& key) const {
    const SourcePosition position = draft_.findings.position(fmt::format("group.{}.{}", group.name, key));
    return position.line == 0 ? group.position : position;
  }

  /// Gives each name the group's own spelling.
  void resolve(const GroupConfiguration& group, const std::string& key, std::vector<std::string>& names) {
    std::vector<std::string> good;
    for (size_t place = 0; place < names.size(); ++place) {
      const SourcePosition position = position_of(group, fmt::format("{}.{}", key, place));
      const GroupConfiguration* other = draft_.configuration.group(names[place]);
      if (other == nullptr) {
        const std::string near = nearest_word(names[place], all_names());
        draft_.findings.add(
            position, "unknown group \"{}\" in \"{}\": {}", names[place], key,
            near.empty() ? "add a section [group." + names[place] + "] or remove it here" : "did you mean \"" + near + "\"?");
      } else if (other->name == group.name) {
        draft_.findings.add(position, "group \"{}\" names itself in \"{}\": remove it there", group.name, key);
      } else if (std::find(good.begin(), good.end(), other->name) != good.end()) {
        draft_.findings.add(position, "\"{}\" stands twice in \"{}\": remove one", names[place], key);
      } else {
        good.push_back(other->name);
      }
    }
    names = std::move(good);
  }

  /// Follows `start_after` and `with` depth first: both wait for the other group; one met again on the way down closes a circle.
  bool find_circle(const GroupConfiguration& group, std::vector<std::string>& way, std::set<std::string>& done) const {
    if (const auto met = std::find(way.begin(), way.end(), group.name); met != way.end()) {
      way.erase(way.begin(), met);
      way.push_back(group.name);
      return true;
    }
    if (done.contains(group.name)) return false;
    way.push_back(group.name);
    for (const std::string& before : waits_for(group))
      if (find_circle(*draft_.configuration.group(before), way, done)) return true;
    way.pop_back();
    done.insert(group.name);
    return false;
  }

  static std::vector<std::string> waits_for(const GroupConfiguration& group) {
    std::vector<std::string> names = group.start_after;
    names.insert(names.end(), group.with.begin(), group.with.end());
    return names;
  }

  bool report_circle() {
    std::set<std::string> done;
    for (const GroupConfiguration& group : groups_) {
      std::vector<std::string> way;
      if (!find_circle(group, way, done)) continue;
      const GroupConfiguration& first = *draft_.configuration.group(way.front());
      draft_.findings.add(
          position_of(first, first.start_after.empty() ? "with" : "start_after"),
          "groups wait for one another in a circle: {} (\"x starts after y\" and \"x runs with y\" are written x -> y): remove one "
          "name from a \"start_after\" or \"with\"",
          fmt::join(way, " -> "));
      return true;
    }
    return false;
  }

  void note_followers() {
    std::map<std::string, GroupConfiguration*> by_name;
    for (GroupConfiguration& group : groups_) by_name[group.name] = &group;
    for (const GroupConfiguration& group : groups_)
      for (const std::string& before : group.start_after) by_name.at(before)->started_before.push_back(group.name);
  }

  std::vector<std::string> all_names() const {
    std::vector<std::string> names;
    for (const GroupConfiguration& group : groups_) names.push_back(group.name);
    return names;
  }

  /// What a group would like must not be what it never gets.
  void check_preferences(const GroupConfiguration& group) {
    for (const std::string& name : group.prefer_with) {
      const GroupConfiguration& other = *draft_.configuration.group(name);
      const bool wants_both =
          std::find(group.prefer_apart_from.begin(), group.prefer_apart_from.end(), name) != group.prefer_apart_from.end();
      std::string why;
      if (wants_both) why = "is to be apart from it, too, if it can (prefer_apart_from)";
      if (are_apart(group, other)) why = "is never on its server (apart_from)";
      if (group.exclusive || other.exclusive)
        why = fmt::format("can never be: group \"{}\" is exclusive", group.exclusive ? group.name : other.name);
      if (!why.empty())
        draft_.findings.add(position_of(group, "prefer_with"),
                            "group \"{}\" is to be with group \"{}\" if it can, and {}: remove one of the two", group.name, name, why);
    }
  }

  /// The group and all that must be where it is, and what can keep them from ever being together.
  void check_company(const GroupConfiguration& group) {
    std::vector<const GroupConfiguration*> company{&group};
    for (size_t place = 0; place < company.size(); ++place)
      for (const std::string& name : company[place]->with)
        if (const auto* other = draft_.configuration.group(name); std::find(company.begin(), company.end(), other) == company.end())
          company.push_back(other);
    const SourcePosition position = position_of(group, "with");
    Amounts needs;
    std::vector<ServerId> servers = group.servers;
    std::vector<std::string> names;
    for (const GroupConfiguration* one : company) {
      names.push_back(one->name);
      for (const auto& [name, amount] : one->needs) needs[name] += amount;
      std::erase_if(servers, [&](ServerId id) { return std::find(one->servers.begin(), one->servers.end(), id) == one->servers.end(); });
      if (one->exclusive)
        return draft_.findings.add(position,
                                   "group \"{}\" is to be on one server with others ({}), and group \"{}\" is exclusive: remove "
                                   "\"exclusive\" there or the name here",
                                   group.name, fmt::join(group.with, ", "), one->name);
      for (const GroupConfiguration* other : company)
        if (are_apart(*one, *other))
          return draft_.findings.add(position,
                                     "group \"{}\" is to be with others ({}), of which group \"{}\" and group \"{}\" are kept apart: "
                                     "remove the \"apart_from\" or the \"with\"",
                                     group.name, fmt::join(group.with, ", "), one->name, other->name);
    }
    if (servers.empty())
      return draft_.findings.add(position,
                                 "the groups {} must be on one server, but there is none that all of them name in \"servers\": add one "
                                 "to each, or remove the \"with\"",
                                 fmt::join(names, ", "));
    check_room(group, needs, servers);
  }

  /// It (with what must be there with it) fits on none of these servers, even on an empty one.
  void check_room(const GroupConfiguration& group, const Amounts& needs, const std::vector<ServerId>& servers) {
    std::vector<std::string> obstacles;
    for (const ServerId id : servers) {
      const std::string lacking = describe_lack(needs, draft_.configuration.server(id)->capacity);
      if (lacking.empty()) return;
      obstacles.push_back(fmt::format("{}: {}", draft_.configuration.server_name(id), lacking));
    }
    if (servers.empty()) return;
    draft_.findings.add(
        position_of(group, "needs"),
        "none of its servers has room for group \"{}\"{}, even with nothing else on it ({}): raise \"capacity\" in [server.NAME], "
        "lower \"needs\", or name another server",
        group.name, group.with.empty() ? "" : " and those that it is with", fmt::join(obstacles, "; "));
  }

  ConfigurationDraft& draft_;
  std::vector<GroupConfiguration>& groups_;
};

}  // namespace

void read_placement(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft) {
  bool used = section.read_boolean("exclusive", group.exclusive);
  used = section.read_strings("start_after", group.start_after) || used;
  used = section.read_strings("with", group.with) || used;
  used = section.read_strings("apart_from", group.apart_from) || used;
  used = section.read_strings("prefer_apart_from", group.prefer_apart_from) || used;
  used = section.read_strings("prefer_with", group.prefer_with) || used;
  used = read_amounts(section, "needs", group.needs) || used;
  if (used) draft.needs_level(kLevel);
}

void read_capacity(SectionReader& section, ServerConfiguration& server, ConfigurationDraft& draft) {
  if (!read_amounts(section, "capacity", server.capacity)) return;
  draft.needs_level(kLevel);
  if (server.role == ServerRole::kWitness)
    draft.findings.add(section.position_of("capacity"), "{} is the witness, which runs no group: remove \"capacity\"", server.name);
}

void check_placement(ConfigurationDraft& draft) { PlacementCheck(draft).run(); }

}  // namespace baton
