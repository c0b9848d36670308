// See alert_messages.h.
#include "src/daemon/alert_messages.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "src/daemon/event_rows.h"
#include "src/format/snmp_trap.h"

namespace baton {

namespace {

constexpr size_t kSubjectBytes = 150;
constexpr size_t kSyslogBytes = 1800;  // receivers take 2048 of a message at least, most of them (RFC 5424, 6.1)
constexpr size_t kTrapBytes = 1000;    // of a text: so that the whole fits in a packet
constexpr uint32_t kDaemonFacility = 3;
/// The number that IANA keeps for examples (RFC 5612): Baton has none of its own.
constexpr uint32_t kEnterprise = 32473;
const SnmpName kBaton = {1, 3, 6, 1, 4, 1, kEnterprise, 1};

/// As syslog and the journal count: 6 is for information, 4 a warning, 1 to be seen to at once.
uint32_t priority_of(const Note& note) {
  switch (severity_of(note)) {
    case Severity::kInfo: return 6;
    case Severity::kWarning: return 4;
    case Severity::kAlert: return 1;
  }
  return 6;
}

/// One line without control characters.
std::string one_line(std::string text) {
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 127; }, ' ');
  return text;
}

/// Not in the midst of a letter of UTF-8.
std::string shortened(std::string text, size_t most) {
  if (text.size() <= most) return text;
  size_t end = most - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end) + "...";
}

std::string ascii(std::string text) {
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c > 126; }, '?');
  return text;
}

std::string time_text(int64_t time_ms, const char* format, bool local = false) {
  const auto seconds = static_cast<time_t>(time_ms / 1000);
  struct tm parts = {};
  if (local) localtime_r(&seconds, &parts);
  else gmtime_r(&seconds, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::string iso_time(int64_t time_ms) { return time_text(time_ms, "%Y-%m-%dT%H:%M:%S") + fmt::format(".{:03}Z", time_ms % 1000); }

/// "db: the text".
std::string headline(const Note& note) { return one_line((note.group.empty() ? "" : note.group + ": ") + note.text); }

/// A value of structured data: its three special characters are marked.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : one_line(text)) {
    if (c == '"' || c == '\\' || c == ']') out += '\\';
    out += c;
  }
  return out + "\"";
}

/// A word of a syslog header.
std::string word(const std::string& text, size_t most) {
  std::string out = ascii(text).substr(0, most);
  std::replace(out.begin(), out.end(), ' ', '_');
  return out.empty() ? "-" : out;
}

}  // namespace

std::string key_of(const AlertMessage& message) {
  const Event& event = message.event;
  if (event.note.place != 0) return fmt::format("{}.e{}.{}", message.cluster, entry_of(event.note), event.note.place % kNotesOfEntry);
  return fmt::format("{}.{}.{}.{}", message.cluster, event.server, event.id, event.time_ms);
}

nlohmann::json to_json(const AlertMessage& message) {
  nlohmann::json json = event_rows::to_json(message.event);
  json["cluster"] = message.cluster;
  json["sender"] = message.sender;
  json["alert"] = message.alert;
  json["key"] = key_of(message);
  return json;
}

std::string to_mail(const AlertMessage& message, const AlertConfiguration& alert) {
  const Event& event = message.event;
  const Note& note = event.note;
  std::string text = fmt::format(
      "From: {}\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{}@baton.invalid>\r\nAuto-Submitted: auto-generated\r\n"
      "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
      alert.from, fmt::join(alert.recipients, ",\r\n "),
      ascii(shortened(fmt::format("[{}] {}: {}", message.cluster, to_string(severity_of(note)), headline(note)), kSubjectBytes)),
      time_text(event.time_ms, "%a, %d %b %Y %H:%M:%S +0000"), word(key_of(message), 200));
  const auto line = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) text += fmt::format("{:<9} {}\r\n", name + ":", one_line(value));
  };
  text += one_line(note.text) + "\r\n\r\n";
  line("cluster", message.cluster);
  line("group", note.group);
  line("resource", note.resource);
  line("kind", note.kind);
  line("severity", to_string(severity_of(note)));
  line("time", iso_time(event.time_ms));
  line("noted by", event.server);
  line("sent by", message.sender);
  for (const auto& cause : note.causes) line("cause", cause);
  text += "\r\nMore: baton events" + (note.group.empty() ? "" : ", baton explain " + note.group) + "\r\n";
  return text;
}

std::string to_syslog(const AlertMessage& message, AlertTransport transport) {
  const Event& event = message.event;
  const Note& note = event.note;
  const uint32_t priority = kDaemonFacility * 8 + priority_of(note);
  const std::string said = shortened(headline(note), kSyslogBytes);
  if (transport == AlertTransport::kLocal)
    return fmt::format("<{}>{} batond[{}]: {}", priority, time_text(event.time_ms, "%b %e %H:%M:%S", true), ::getpid(), said);
  std::string data = fmt::format("[baton@{} cluster={} kind={} severity={} server={} key={}", kEnterprise, quoted(message.cluster),
                                 quoted(note.kind), quoted(to_string(severity_of(note))), quoted(event.server), quoted(key_of(message)));
  if (!note.group.empty()) data += " group=" + quoted(note.group);
  if (!note.resource.empty()) data += " resource=" + quoted(note.resource);
  const std::string line = fmt::format("<{}>1 {} {} batond {} {} {}] {}", priority, iso_time(event.time_ms), word(message.sender, 255),
                                       ::getpid(), word(note.kind, 32), data, said);
  return transport == AlertTransport::kTcp ? fmt::format("{} {}", line.size(), line) : line;
}

Bytes to_snmp_trap(const AlertMessage& message, const std::string& community, Duration uptime) {
  const Note& note = message.event.note;
  SnmpTrap trap;
  trap.community = community;
  trap.request = static_cast<uint32_t>(message.event.id) & 0x7fffffffU;
  trap.uptime_centiseconds = static_cast<uint32_t>(uptime / 10ms);
  trap.name = kBaton;
  for (const uint32_t part : {0U, static_cast<uint32_t>(severity_of(note)) + 1}) trap.name.push_back(part);
  uint32_t object = 0;
  for (const std::string& text : {message.cluster, message.event.server, note.group, note.kind, std::string(to_string(severity_of(note))),
                                  note.text, fmt::format("{}", fmt::join(note.causes, "; ")), key_of(message)}) {
    SnmpName name = kBaton;
    for (const uint32_t part : {1U, ++object, 0U}) name.push_back(part);
    trap.texts.emplace_back(name, shortened(one_line(text), object == 6 ? kTrapBytes : kTrapBytes / 4));
  }
  return encode_snmp_trap(trap);
}

std::vector<std::string> to_environment(const AlertMessage& message) {
  const Event& event = message.event;
  const Note& note = event.note;
  const auto variable = [](const char* name, std::string value) {
    std::erase(value, '\0');
    return fmt::format("BATON_{}={}", name, shortened(std::move(value), 32768));
  };
  return {variable("ALERT", message.alert),
          variable("CLUSTER", message.cluster),
          variable("EVENT_KEY", key_of(message)),
          variable("EVENT_SERVER", event.server),
          variable("EVENT_TIME", iso_time(event.time_ms)),
          variable("EVENT_KIND", note.kind),
          variable("EVENT_SEVERITY", to_string(severity_of(note))),
          variable("EVENT_GROUP", note.group),
          variable("EVENT_RESOURCE", note.resource),
          variable("EVENT_ACTION", note.action),
          variable("EVENT_OUTCOME", note.outcome),
          variable("EVENT_ENTRY", fmt::format("{}", entry_of(note))),
          variable("EVENT_TEXT", note.text),
          variable("EVENT_CAUSES", fmt::format("{}", fmt::join(note.causes, "\n")))};
}

JournalFields to_journal(const Note& note, const std::string& cluster, const std::string& server) {
  JournalFields fields = {{"MESSAGE", (note.group.empty() ? "" : note.group + ": ") + note.text},
                          {"PRIORITY", fmt::format("{}", priority_of(note))},
                          {"SYSLOG_IDENTIFIER", "batond"},
                          {"BATON_CLUSTER", cluster},
                          {"BATON_SERVER", server},
                          {"BATON_KIND", note.kind},
                          {"BATON_SEVERITY", to_string(severity_of(note))}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, value);
  };
  add("BATON_GROUP", note.group);
  add("BATON_RESOURCE", note.resource);
  add("BATON_ACTION", note.action);
  add("BATON_OUTCOME", note.outcome);
  if (note.took_us != 0) add("BATON_TOOK_US", fmt::format("{}", note.took_us));
  if (note.place != 0) add("BATON_ENTRY", fmt::format("{}", entry_of(note)));
  for (const auto& cause : note.causes) add("BATON_CAUSE", cause);
  return fields;
}

}  // namespace baton
