// The configurations of a run. One thread.
#include "sim/shape.h"

#include <iterator>
#include <tuple>

#include <fmt/format.h>

#include "sim/world.h"
#include "src/model/configuration_toml.h"

namespace baton::sim {

namespace {

// Short, so that a step that hangs is over within a run.
constexpr const char* kLimits = "start_timeout = \"2500 ms\"\nstop_timeout = \"2500 ms\"\n";

std::string servers_text(const Shape& shape, NpKind np) {
  std::string text = "[cluster]\nname = \"sim\"\nstartup_wait = \"0 s\"\npublic_lan = \"10.0.0.0/24\"\n"
                     "timing = { profile = \"lan\", restart_grace = \"3 s\" }\n";
  if (shape.strict) text.replace(text.find("\"0 s\""), 5, "\"3 s\"");
  if (np == NpKind::kDisk) text += "np = \"disk\"\nnp_disk = \"/dev/np\"\n";
  if (np == NpKind::kPing) text += "np = \"ping\"\nping_targets = [\"10.0.0.254\", \"2001:db8::1\"]\n";
  if (shape.strict) text += "return = \"manual\"\nbreaker = { groups = 1, failovers = 2, window = \"30 s\" }\n";
  if (shape.fencing == Shape::Fencing::kRequired) text += "fencing = \"required\"\n";
  for (uint32_t id = 1; id <= shape.voters(); ++id) {
    const bool witness = shape.witness && id == shape.voters();
    const std::string name = witness ? "witness" : fmt::format("server{}", id);
    text += fmt::format("[server.{}]\nid = {}\n{}interconnects = [\"10.0.1.{}\"]\n", name, id,
                        witness ? "role = \"witness\"\n" : "", id);
    if (!witness && shape.fencing != Shape::Fencing::kNone) text += fmt::format("[server.{}.fence]\nagent = \"fence_sim\"\n", name);
  }
  return text;
}

/// "server2", "server1": counted from `first`, going round.
std::string policy(const Shape& shape, uint32_t first, uint32_t count) {
  std::string text;
  for (uint32_t place = 0; place < std::min(count, shape.servers); ++place)
    text += fmt::format("{}\"server{}\"", text.empty() ? "" : ", ", (first - 1 + place) % shape.servers + 1);
  return text;
}

std::string address(const std::string& group, int number) {
  return fmt::format("[group.{}.address.ip]\naddress = \"10.0.0.{}\"\n{}", group, number, kLimits);
}

std::string mirror(const std::string& group, int port) {
  return fmt::format("[group.{}.mirror.data]\nsize = \"512 MiB\"\nstore = \"/var/lib/baton/store/{}.img\"\nport = {}\n{}", group,
                     group, port, kLimits);
}

std::string filesystem(const std::string& group) {
  return fmt::format("[group.{}.filesystem.files]\nmirror = \"data\"\nmount = \"/srv/{}\"\n{}", group, group, kLimits);
}

std::string service(const std::string& group, int restarts) {
  return fmt::format("[group.{}.service.daemon]\ncommand = [\"/bin/daemon\"]\nrestarts = {}\n{}", group, restarts, kLimits);
}

std::string group(const std::string& name, const std::string& servers, const std::string& keys = "") {
  return fmt::format("[group.{}]\nservers = [{}]\n{}", name, servers, keys);
}

std::string monitor(const std::string& group) {
  return fmt::format("[group.{}.monitor.answers]\ncommand = [\"/bin/ask\"]\ninterval = \"2 s\"\ntimeout = \"1 s\"\n", group);
}

/// The database of the demo in small: all four kinds, one above the other.
std::string database(const Shape& shape) {
  return group("db", policy(shape, 1, 2), shape.policies ? "failback = \"online\"\n" : "") + mirror("db", 7800) + filesystem("db") +
         address("db", 9) + service("db", 1) + (shape.monitored ? monitor("db") : "");
}
std::string web(const Shape& shape, bool turned) {
  return group("web", policy(shape, turned ? 1 : 2, 3), shape.policies ? "failback = \"online\"\n" : "") + address("web", 10) +
         service("web", 0);
}
std::string files(const Shape& shape) {
  return group("files", policy(shape, shape.servers, 2), shape.policies ? "apart_from = [\"web\"]\n" : "") + mirror("files", 7810) +
         filesystem("files");
}
/// With four servers and more it wants one for itself alone, which nobody else depends on.
std::string spare(const Shape& shape) {
  const bool exclusive = shape.policies && shape.servers > 3;
  const std::string keys =
      std::string("startup = \"manual\"\n") + (shape.policies ? "start_after = [\"db\"]\n" : "") + (exclusive ? "exclusive = true\n" : "");
  return group("spare", exclusive ? policy(shape, shape.servers - 1, 1) : policy(shape, 1, shape.servers), keys) + service("spare", 2);
}
std::string plain(const Shape& shape) {
  return group("db", policy(shape, 1, 2)) + mirror("db", 7800) + address("db", 9) +
         group("web", policy(shape, 2, 3)) + address("web", 10);
}

}  // namespace

Shape make_shape(Random& random) {
  static constexpr std::pair<uint32_t, bool> kVoters[] = {{2, true},  {2, true}, {2, true},  {2, false}, {3, false},
                                                          {3, true}, {4, true}, {4, false}, {5, false}};
  Shape shape;
  std::tie(shape.servers, shape.witness) = kVoters[random.below(std::size(kVoters))];
  if (random.chance(0.15)) shape.fencing = random.chance(0.5) ? Shape::Fencing::kBesides : Shape::Fencing::kRequired;
  shape.strict = random.chance(0.25);
  shape.monitored = random.chance(0.5);
  return shape;
}

std::string describe(const Shape& shape) {
  static constexpr const char* kFencing[] = {"", ", fencing besides", ", fencing required"};
  std::string nps;
  for (const NpKind np : shape.nps) nps += fmt::format("{}{}", nps.empty() ? ", np " : " or ", to_string(np));
  return fmt::format("{} servers{}{}{}{}{}{}", shape.servers, shape.witness ? " and a witness" : "", shape.rich ? "" : ", two groups",
                     shape.rich && shape.monitored ? ", a monitor" : "",
                     kFencing[static_cast<int>(shape.fencing)],
                     shape.policies ? ", policies" : shape.strict ? ", returns by hand, a narrow breaker" : "", nps);
}

namespace {

std::vector<std::string> make_texts(const Shape& shape, NpKind np) {
  const std::string servers = servers_text(shape, np);
  if (!shape.rich) return {servers + plain(shape)};
  const std::string all = database(shape) + web(shape, false) + files(shape) + spare(shape);
  const std::string extra = group("extra", policy(shape, 2, shape.servers)) +
                            (shape.servers == 2 ? mirror("extra", 7820) : "") + address("extra", 11);
  return {servers + all,
          servers + database(shape) + web(shape, true) + files(shape) + spare(shape),  // another policy
          servers + all + extra,                                                      // another group
          servers + database(shape) + web(shape, false) + files(shape),               // a group fewer
          servers + group("db", policy(shape, 1, 2)) + mirror("db", 7800) + filesystem("db") + address("db", 9) +
              service("db", 3) + web(shape, false) + files(shape) + spare(shape)};  // other resources
}

}  // namespace

std::vector<std::string> make_texts(const Shape& shape) {
  if (shape.nps.empty()) return make_texts(shape, NpKind::kOperator);
  std::vector<std::string> texts;
  for (const NpKind np : shape.nps)
    for (auto& text : make_texts(shape, np)) texts.push_back(std::move(text));
  return texts;
}

Configuration everything_in(const std::vector<std::string>& texts) {
  Configuration all;
  for (const auto& text : texts) {
    const auto parsed = parse_configuration(text);
    if (!parsed) throw Violation("simulation", parsed.error().message);
    if (all.servers.empty()) {
      all = *parsed;
      continue;
    }
    if (all.ping_targets.empty()) all.ping_targets = parsed->ping_targets;
    for (const auto& added : parsed->groups)
      if (all.group(added.name) == nullptr) all.groups.push_back(added);
  }
  return all;
}

}  // namespace baton::sim
