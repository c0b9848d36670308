// How an event is told by each way of alerting: JSON, mail, syslog, SNMP, environment; and its entry in the journal. Texts are as long as
// their way allows. Stateless, any thread. docs/operations.md, "Alerts".
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/model/configuration.h"
#include "src/model/event.h"
#include "src/os/journal_socket.h"

namespace baton {

struct AlertMessage {
  Event event;
  std::string cluster;
  std::string sender;  // the server that tells it
  std::string alert;   // the name of the alert
};

/// The same for the same event, whichever server tells it, and however often.
std::string key_of(const AlertMessage& message);

nlohmann::json to_json(const AlertMessage& message);
/// Header and body.
std::string to_mail(const AlertMessage& message, const AlertConfiguration& alert);
/// RFC 5424; what a local socket takes, with kLocal; with its length in front (RFC 6587), with kTcp.
std::string to_syslog(const AlertMessage& message, AlertTransport transport);
/// docs/BATON-MIB.txt. `uptime`: of batond.
Bytes to_snmp_trap(const AlertMessage& message, const std::string& community, Duration uptime);
/// NAME=value, for a command.
std::vector<std::string> to_environment(const AlertMessage& message);

/// For the journal. The event's id need not be known.
JournalFields to_journal(const Note& note, const std::string& cluster, const std::string& server);

}  // namespace baton
