// Reads [alert.NAME]. Level 3: a voter that does not know them could not judge the text (docs/protocol.md, "Levels").
#include <fmt/ranges.h>

#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr uint32_t kLevel = 3;
constexpr milliseconds kShortestTimeout = 1s;
constexpr milliseconds kLongestTimeout = 300s;
constexpr milliseconds kLongest = 30 * 24h;
constexpr int64_t kMostEvents = 100000;
constexpr const char* kLocalSocket = "/dev/log";

/// One word for a header or a command of SMTP: nothing that could be another one.
bool is_mail_address(const std::string& text) {
  const size_t at = text.find('@');
  return at != std::string::npos && at > 0 && at + 1 < text.size() && text.find('@', at + 1) == std::string::npos &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127 && c != '<' && c != '>' && c != ',' && c != ';'; });
}

void check_mail_address(const std::string& text, SourcePosition position, ConfigurationFindings& findings) {
  if (!is_mail_address(text)) findings.add(position, "\"{}\" is no address of mail: write one like \"admin@example.org\"", text);
}

void read_file_name(SectionReader& section, const std::string& key, std::string& into) {
  if (section.read_string(key, into)) check_path(into, key, section.position_of(key), section.findings());
}

void take_endpoint(const std::string& text, const std::string& example, SourcePosition position, AlertConfiguration& alert,
                   ConfigurationFindings& findings) {
  const auto endpoint = parse_endpoint(text);
  if (!endpoint) return findings.add(position, "\"{}\" is no host with a port: write one like \"{}\"", text, example);
  alert.host = endpoint->host;
  alert.port = endpoint->port;
}

/// `user` and the file with the password, never the password.
void read_login(SectionReader& section, AlertConfiguration& alert) {
  if (section.find("password") != nullptr)
    section.findings().add(section.position_of("password"),
                           "a password in the configuration would be seen by everybody who sees that: write it "
                           "into a file that only root can read, and name that: password_file = \"/etc/baton/alert.password\"");
  read_user(section, alert.user);
  read_file_name(section, "password_file", alert.password_file);
  if (alert.user.empty() != alert.password_file.empty())
    section.findings().add(section.position(),
                           "alert \"{}\" has only one of \"user\" and \"password_file\": add the other one or remove it", alert.name);
}

void read_webhook(SectionReader& section, AlertConfiguration& alert) {
  section.read_string("url", alert.url);
  check_url(alert.url, "https://alerts.example.org/baton", "add user = \"...\" and password_file = \"/etc/baton/alert.password\"",
            section.position_of("url"), section.findings());
  read_file_name(section, "authority", alert.authority);
  read_login(section, alert);
  if (!alert.user.empty() && alert.url.starts_with("http://"))
    section.findings().add(section.position_of("user"),
                           "with an http:// URL the password would go over the network as it is: use https://");
}

void read_mail(SectionReader& section, AlertConfiguration& alert) {
  if (section.read_strings("mail", alert.recipients)) {
    if (alert.recipients.empty())
      section.findings().add(section.position_of("mail"), "\"mail\" is empty: name who gets it: mail = [\"admin@example.org\"]");
    for (size_t place = 0; place < alert.recipients.size(); ++place)
      check_mail_address(alert.recipients[place], section.position_of(fmt::format("mail.{}", place)), section.findings());
  }
  section.require("from", "add from = \"baton@example.org\", the sender that the mail server accepts");
  if (section.read_string("from", alert.from)) check_mail_address(alert.from, section.position_of("from"), section.findings());
  std::string server;
  section.require("server", "add server = \"HOST:PORT\" of the mail server, for instance \"10.0.0.9:25\"");
  if (section.read_string("server", server)) take_endpoint(server, "10.0.0.9:25", section.position_of("server"), alert, section.findings());
  read_file_name(section, "authority", alert.authority);
  read_login(section, alert);
  if (!alert.user.empty()) alert.tls = AlertTls::kStartTls;
  std::string tls;
  if (!section.read_string("tls", tls)) return;
  if (tls == "starttls") alert.tls = AlertTls::kStartTls;
  else if (tls == "tls") alert.tls = AlertTls::kTls;
  else if (tls != "none")
    section.findings().add(section.position_of("tls"), "unknown tls \"{}\": use \"none\", \"starttls\" or \"tls\"", tls);
  else if (alert.user.empty()) alert.tls = AlertTls::kNone;
  else
    section.findings().add(section.position_of("tls"),
                           "with tls = \"none\" the password would go over the network as it is: use \"starttls\" "
                           "or \"tls\"");
}

void read_syslog(SectionReader& section, AlertConfiguration& alert) {
  std::string target;
  if (!section.read_string("syslog", target)) return;
  const SourcePosition position = section.position_of("syslog");
  if (target.starts_with("/")) {
    alert.transport = AlertTransport::kLocal;
    alert.socket = target;
    check_path(target, "syslog", position, section.findings());
    return;
  }
  const bool tcp = target.starts_with("tcp://");
  alert.transport = tcp ? AlertTransport::kTcp : AlertTransport::kUdp;
  if (!tcp && !target.starts_with("udp://"))
    return section.findings().add(
        position, "\"{}\" is no receiver of syslog: write \"tcp://10.0.0.9:514\", \"udp://10.0.0.9:514\" or \"{}\"", target, kLocalSocket);
  take_endpoint(target.substr(6), "10.0.0.9:514", position, alert, section.findings());
}

void read_trap(SectionReader& section, AlertConfiguration& alert) {
  std::string target;
  if (section.read_string("trap", target)) take_endpoint(target, "10.0.0.9:162", section.position_of("trap"), alert, section.findings());
  if (section.find("community") != nullptr)
    section.findings().add(section.position_of("community"),
                           "a community in the configuration would be seen by everybody who sees that: write it "
                           "into a file that only root can read, and name that: community_file = \"/etc/baton/community\"");
  read_file_name(section, "community_file", alert.community_file);
}

/// Which of the keys is there says what kind it is. False: none, or several.
bool read_kind(SectionReader& section, AlertConfiguration& alert) {
  struct Way {
    const char* key;
    AlertKind kind;
  };
  std::vector<std::string> found;
  for (const Way& way : {Way{"url", AlertKind::kWebhook}, Way{"mail", AlertKind::kMail}, Way{"syslog", AlertKind::kSyslog},
                         Way{"trap", AlertKind::kTrap}, Way{"command", AlertKind::kCommand}}) {
    if (section.find(way.key) == nullptr) continue;
    found.push_back(fmt::format("\"{}\"", way.key));
    alert.kind = way.kind;
  }
  if (found.size() > 1)
    section.findings().add(section.position(), "alert \"{}\" goes more than one way ({}): make an alert of each", alert.name,
                           fmt::join(found, ", "));
  if (found.empty())
    section.findings().add(section.position(), "alert \"{}\" goes nowhere: add url = \"https://...\", mail = [\"WHO@WHERE\"], "
                           "syslog = \"tcp://HOST:PORT\", trap = \"HOST:PORT\" or command = [\"/path/to/program\"]", alert.name);
  switch (alert.kind) {
    case AlertKind::kWebhook: read_webhook(section, alert); break;
    case AlertKind::kMail: read_mail(section, alert); break;
    case AlertKind::kSyslog: read_syslog(section, alert); break;
    case AlertKind::kTrap: read_trap(section, alert); break;
    case AlertKind::kCommand:
      read_command(section, "command", alert.command);
      read_user(section, alert.user);
      break;
  }
  return found.size() == 1;
}

/// Which events it is about.
void read_choice(SectionReader& section, AlertConfiguration& alert, ConfigurationDraft& draft) {
  const std::vector<std::string> known = event_kinds();
  if (section.read_strings("kinds", alert.kinds)) {
    alert.severity = Severity::kInfo;
    if (alert.kinds.empty()) draft.findings.add(section.position_of("kinds"), "\"kinds\" is empty: name some, or remove it");
    for (size_t place = 0; place < alert.kinds.size(); ++place) {
      const std::string& kind = alert.kinds[place];
      if (std::find(known.begin(), known.end(), kind) == known.end())
        draft.findings.add(section.position_of(fmt::format("kinds.{}", place)), "unknown kind of event \"{}\": use {}", kind,
                           fmt::join(known, ", "));
    }
  }
  std::string severity;
  if (section.read_string("severity", severity)) {
    const auto parsed = parse_severity(severity);
    if (parsed) alert.severity = *parsed;
    else draft.findings.add(section.position_of("severity"), "unknown severity \"{}\": use \"info\", \"warning\" or \"alert\"", severity);
  }
  if (!section.read_strings("groups", alert.groups)) return;
  if (alert.groups.empty()) draft.findings.add(section.position_of("groups"), "\"groups\" is empty: name some, or remove it");
  for (size_t place = 0; place < alert.groups.size(); ++place) {
    const GroupConfiguration* group = draft.configuration.group(alert.groups[place]);
    if (group != nullptr) alert.groups[place] = group->name;
    else
      draft.findings.add(section.position_of(fmt::format("groups.{}", place)),
                         "there is no group \"{}\": name one of the file, or remove it", alert.groups[place]);
  }
}

/// A table of this section; nothing if it is absent or none.
std::optional<SectionReader> read_table(SectionReader& section, const std::string& key, const std::string& example) {
  const TomlValue* value = section.find(key);
  if (value == nullptr) return std::nullopt;
  if (value->kind == TomlValue::Kind::kTable) return SectionReader(*value, section.path_of(key), section.findings());
  section.findings().add(value->position, "\"{}\" must be a table: write {} = {}", key, key, example);
  return std::nullopt;
}

void read_limits(SectionReader& section, AlertConfiguration& alert) {
  section.read_duration("timeout", kShortestTimeout, kLongestTimeout, alert.timeout);
  if (auto limit = read_table(section, "limit", "{ events = 20, window = \"1 min\" }")) {
    int64_t events = alert.limit_events;
    if (limit->read_integer("events", 1, kMostEvents, events)) alert.limit_events = static_cast<uint32_t>(events);
    limit->read_duration("window", 1s, kLongest, alert.limit_window);
    limit->finish();
  }
  if (auto retry = read_table(section, "retry", "{ first = \"2 s\", longest = \"5 min\", age = \"12 h\" }")) {
    retry->read_duration("first", 100ms, kLongest, alert.retry_first);
    alert.retry_longest = std::max(alert.retry_longest, alert.retry_first);
    if (retry->read_duration("longest", 100ms, kLongest, alert.retry_longest) && alert.retry_longest < alert.retry_first)
      section.findings().add(retry->position_of("longest"),
                             "the longest time between two attempts is shorter than the first: make \"longest\" "
                             "at least {} ms",
                             alert.retry_first.count());
    retry->read_duration("age", 1s, kLongest, alert.retry_age);
    retry->finish();
  }
}

}  // namespace

void read_alerts(SectionReader& file, ConfigurationDraft& draft) {
  for (const TomlEntry* entry : file.sections("alert")) {
    AlertConfiguration alert;
    alert.name = entry->key;
    alert.position = entry->value.position;
    check_name(alert.name, entry->position, draft.findings);
    if (const AlertConfiguration* other = draft.configuration.alert(alert.name))
      draft.findings.add(entry->position, "alert \"{}\" has the name of \"{}\" (names compare without case): rename one", alert.name,
                         other->name);
    SectionReader section(entry->value, file.path_of("alert") + "." + entry->key, draft.findings);
    const bool one_kind = read_kind(section, alert);
    read_choice(section, alert, draft);
    read_limits(section, alert);
    if (one_kind) section.finish();
    draft.configuration.alerts.push_back(std::move(alert));
    draft.needs_level(kLevel);
  }
}

}  // namespace baton
