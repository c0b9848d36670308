// Rows of the event store. The caller's thread.
#include "src/daemon/event_rows.h"

#include <algorithm>

namespace baton::event_rows {

using nlohmann::json;

namespace {

constexpr const char* kSchema = R"(
CREATE TABLE event (
  id INTEGER PRIMARY KEY,
  time_ms INTEGER NOT NULL,
  monotonic_us INTEGER NOT NULL,
  server TEXT NOT NULL,
  group_name TEXT NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL,
  causes TEXT NOT NULL,
  took_us INTEGER NOT NULL,
  resource TEXT NOT NULL,
  action TEXT NOT NULL,
  outcome TEXT NOT NULL
);
CREATE INDEX event_by_group ON event (group_name, id);
CREATE TABLE history (
  position INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  group_name TEXT NOT NULL,
  applied INTEGER NOT NULL,
  text TEXT NOT NULL,
  reason TEXT NOT NULL,
  causes TEXT NOT NULL,
  steps TEXT NOT NULL
);
CREATE INDEX history_by_group ON history (group_name, position);
)";

constexpr const char* kLaterSchema = R"(
CREATE TABLE IF NOT EXISTS event_origin (
  id INTEGER PRIMARY KEY,
  place INTEGER NOT NULL,
  everywhere INTEGER NOT NULL,
  severity TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS event_origin_by_place ON event_origin (place);
CREATE TABLE IF NOT EXISTS alert_progress (
  name TEXT PRIMARY KEY,
  event INTEGER NOT NULL,
  place INTEGER NOT NULL,
  untold INTEGER NOT NULL
);
)";

constexpr const char* kEvents =
    "SELECT event.id, time_ms, monotonic_us, server, group_name, kind, text, causes, took_us, resource, action, outcome, "
    "coalesce(place, 0), coalesce(everywhere, 0), coalesce(severity, '') FROM event LEFT JOIN event_origin USING (id)";

/// What programs print need not be UTF-8, but JSON is: anything else becomes U+FFFD.
std::string clean(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<unsigned char>(byte) < 0x80; }))
    return text;
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json parse_list(std::string_view text) {
  auto list = json::parse(text, nullptr, false);
  return list.is_array() ? list : json::array();
}

std::string text_of(const SqliteStatement& statement, int column) { return std::string(statement.bytes(column)); }

Event event_of(const SqliteStatement& row) {
  Event event;
  event.id = row.number(0);
  event.time_ms = row.integer(1);
  event.monotonic_us = row.integer(2);
  event.server = text_of(row, 3);
  event.note.group = text_of(row, 4);
  event.note.kind = text_of(row, 5);
  event.note.text = text_of(row, 6);
  for (const auto& cause : parse_list(row.bytes(7)))
    if (cause.is_string()) event.note.causes.push_back(cause.get<std::string>());
  event.note.took_us = row.integer(8);
  event.note.resource = text_of(row, 9);
  event.note.action = text_of(row, 10);
  event.note.outcome = text_of(row, 11);
  event.note.place = row.number(12);
  event.note.everywhere = row.integer(13) != 0;
  event.note.severity = parse_severity(text_of(row, 14));
  return event;
}

void describe_kind(const StartEpoch&, History& history) { history.kind = "epoch"; }

void describe_kind(const ApplyConfiguration& command, History& history) {
  history.kind = "configuration";
  history.reason = command.author;
}

void describe_kind(const AssignGroup& command, History& history) {
  history.kind = "assign";
  history.group = command.group;
  history.reason = command.reason;
  history.causes = dump(command.causes);
}

void describe_kind(const SetGroupPhase& command, History& history) {
  history.kind = "phase";
  history.group = command.group;
  history.reason = command.reason;
  if (!command.failure.empty() && command.failure != command.reason) history.reason += (history.reason.empty() ? "" : ": ") + command.failure;
  json steps = json::array();
  for (const auto& step : command.steps) {
    steps.push_back({{"resource", step.resource},
                     {"action", step.action},
                     {"took_us", step.took_us},
                     {"outcome", step.outcome}});
  }
  history.steps = dump(steps);
}

void describe_kind(const WishGroup& command, History& history) {
  history.kind = "wish";
  history.group = command.group;
  history.reason = command.reason;
}

void describe_kind(const SetInSync& command, History& history) {
  history.kind = "in_sync";
  history.group = command.mirror.substr(0, command.mirror.find('.'));
  history.reason = command.reason;
}

void describe_operator(const char* kind, const std::string& mirror, const std::string& author, History& history) {
  history.kind = kind;
  history.group = mirror.substr(0, mirror.find('.'));
  history.reason = author;
}

void describe_kind(const BreakMirror& command, History& history) {
  describe_operator("break", command.mirror, command.author, history);
}

void describe_kind(const ForceMirror& command, History& history) {
  describe_operator("force", command.mirror, command.author, history);
  if (!command.loss.empty()) history.reason += ": " + command.loss;
}

void describe_kind(const RestrictMirror& command, History& history) {
  describe_operator("restrict", command.mirror, command.author, history);
}

void describe_kind(const TakeOver& command, History& history) {
  history.kind = "takeover";
  history.reason = command.author.empty() ? command.reason : command.author + ": " + command.reason;
}
void describe_kind(const RestoreDatabase& command, History& history) {
  history.kind = "restore";
  history.reason = fmt::format("{}: from a backup made on {}", command.author, command.source);
}
void describe_kind(const SetVoters&, History& history) { history.kind = "voters"; }

void describe_kind(const RecordFence& command, History& history) {
  history.kind = "fence";
  history.reason = command.author.empty() ? command.text : command.author + ": " + command.text;
}

void describe_kind(const SetStanding& command, History& history) {
  history.kind = "standing";
  history.reason = command.author.empty() ? command.reason : command.author + ": " + command.reason;
}

void describe_person(const char* kind, const std::string& author, const std::string& reason, History& history) {
  history.kind = kind;
  history.reason = author + (reason.empty() ? "" : ": " + reason);
}

void describe_kind(const SetSuspension& command, History& history) {
  describe_person("suspend", command.author, command.reason, history);
  history.group = command.group;
}

void describe_kind(const SetDrain& command, History& history) {
  describe_person("drain", command.author, command.reason, history);
}

void describe_kind(const SetShutdown& command, History& history) {
  describe_person("shutdown", command.author, command.reason, history);
}

void describe_kind(const HoldGroup& command, History& history) {
  history.kind = "hold";
  history.group = command.group;
  history.reason = command.reason;
}

void describe_kind(const ReleaseGroup& command, History& history) {
  describe_person("release", command.author, "", history);
  history.group = command.group;
}

void describe_kind(const RotateKeys& command, History& history) {
  describe_person("keys", command.author, command.reason, history);
}

void describe_kind(const RaiseFormatLevel&, History& history) { history.kind = "level"; }

/// All rows of a query of kEvents.
Result<std::vector<Event>> events_of(SqliteStatement& statement) {
  std::vector<Event> events;
  while (true) {
    auto more = statement.step();
    if (!more) return pass(more);
    if (!*more) return events;
    events.push_back(event_of(statement));
  }
}

}  // namespace

History to_history(const database::Entry& entry, const Applied& outcome) {
  History history;
  history.index = entry.index;
  history.epoch = entry.epoch.value;
  history.time_ms = entry.wall_ms;
  history.applied = outcome.applied;
  history.text = clean(describe(entry.command));
  if (!outcome.applied) history.text += " (refused: " + clean(outcome.refusal) + ")";
  std::visit([&](const auto& command) { describe_kind(command, history); }, entry.command);
  history.group = clean(history.group);
  history.reason = clean(history.reason);
  return history;
}

json to_json(const Event& event) {
  json causes = json::array();
  for (const auto& cause : event.note.causes) causes.push_back(clean(cause));
  return {{"id", event.id},
          {"time_ms", event.time_ms},
          {"monotonic_us", event.monotonic_us},
          {"server", clean(event.server)},
          {"group", clean(event.note.group)},
          {"kind", clean(event.note.kind)},
          {"severity", to_string(severity_of(event.note))},
          {"entry", entry_of(event.note)},
          {"text", clean(event.note.text)},
          {"causes", causes},
          {"took_us", event.note.took_us},
          {"resource", clean(event.note.resource)},
          {"action", clean(event.note.action)},
          {"outcome", clean(event.note.outcome)}};
}

json to_json(const History& history) {
  return {{"time_ms", history.time_ms},           {"index", history.index},
          {"text", clean(history.text)},          {"reason", clean(history.reason)},
          {"causes", parse_list(history.causes)}, {"steps", parse_list(history.steps)}};
}

Status create_tables(SqliteFile& file) {
  auto transaction = SqliteTransaction::begin(file);
  if (!transaction) return pass(transaction);
  if (auto made = file.execute(kSchema); !made) return made;
  if (auto made = file.execute(kLaterSchema); !made) return made;
  auto marked = file.execute(
      fmt::format("PRAGMA application_id={}; PRAGMA user_version={};", kApplicationId, kVersion));
  if (!marked) return marked;
  return transaction->commit();
}

Status add_tables(SqliteFile& file) { return file.execute(kLaterSchema); }

Status add_event(SqliteFile& file, const Event& event) {
  auto statement = file.prepare("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return pass(statement);
  const auto& note = event.note;
  statement->bind(event.id, event.time_ms, event.monotonic_us, event.server, note.group, note.kind, note.text,
                  dump(note.causes), note.took_us, note.resource, note.action, note.outcome);
  if (auto added = statement->run(); !added) return added;
  if (note.place == 0 && !note.everywhere && !note.severity) return {};
  auto origin = file.prepare("INSERT OR REPLACE INTO event_origin VALUES (?, ?, ?, ?)");
  if (!origin) return pass(origin);
  return origin
      ->bind(event.id, note.place, static_cast<int64_t>(note.everywhere), note.severity ? std::string(to_string(*note.severity)) : "")
      .run();
}

Status add_history(SqliteFile& file, const History& history) {
  auto statement = file.prepare(
      "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (position) DO UPDATE SET "
      "epoch = excluded.epoch, time_ms = excluded.time_ms, kind = excluded.kind, group_name = excluded.group_name, "
      "applied = excluded.applied, text = excluded.text, reason = excluded.reason, causes = excluded.causes, "
      "steps = excluded.steps WHERE epoch <> excluded.epoch OR time_ms <> excluded.time_ms OR text <> excluded.text");
  if (!statement) return pass(statement);
  statement->bind(history.index, history.epoch, history.time_ms, history.kind, history.group,
                  static_cast<int64_t>(history.applied), history.text, history.reason, history.causes, history.steps);
  if (auto added = statement->run(); !added) return added;
  if (file.changes() == 0) return {};
  auto above = file.prepare("DELETE FROM history WHERE position > ?");
  if (!above) return pass(above);
  return above->bind(history.index).run();
}

Result<std::vector<Event>> read_events(SqliteFile& file, int64_t after, uint32_t limit, const std::string& group) {
  const bool newest = after < 0;
  auto statement = file.prepare(fmt::format("{} WHERE event.id > ?{} ORDER BY event.id {} LIMIT ?", kEvents,
                                            group.empty() ? "" : " AND group_name = ?", newest ? "DESC" : "ASC"));
  if (!statement) return pass(statement);
  if (group.empty()) {
    statement->bind(after, limit);
  } else {
    statement->bind(after, group, limit);
  }
  auto events = events_of(*statement);
  if (events && newest) std::reverse(events->begin(), events->end());
  return events;
}

Result<std::vector<History>> read_transitions(SqliteFile& file, const std::string& group, uint32_t count) {
  auto statement = file.prepare(
      "SELECT position, epoch, time_ms, kind, group_name, text, reason, causes, steps FROM history "
      "WHERE group_name = ? AND applied = 1 AND kind IN ('assign', 'phase', 'wish') ORDER BY position DESC LIMIT ?");
  if (!statement) return pass(statement);
  statement->bind(group, count);
  std::vector<History> transitions;
  while (true) {
    auto more = statement->step();
    if (!more) return pass(more);
    if (!*more) return transitions;
    const auto& row = *statement;
    transitions.push_back({row.number(0), row.number(1), row.integer(2), text_of(row, 3), text_of(row, 4), true,
                           text_of(row, 5), text_of(row, 6), text_of(row, 7), text_of(row, 8)});
  }
}

Result<uint64_t> last_event(SqliteFile& file) {
  auto last = file.integer("SELECT coalesce(max(id), 0) FROM event");
  if (!last) return pass(last);
  return static_cast<uint64_t>(*last);
}

Result<uint64_t> last_history(SqliteFile& file) {
  auto last = file.integer("SELECT coalesce(max(position), 0) FROM history");
  if (!last) return pass(last);
  return static_cast<uint64_t>(*last);
}

Status keep_progress(SqliteFile& file, const AlertProgress& progress) {
  auto statement = file.prepare(progress.progress ? "INSERT OR REPLACE INTO alert_progress VALUES (?, ?, ?, ?)"
                                                  : "DELETE FROM alert_progress WHERE name = ?");
  if (!statement) return pass(statement);
  if (!progress.progress) return statement->bind(progress.name).run();
  return statement->bind(progress.name, progress.progress->event, progress.progress->place, progress.progress->untold).run();
}

Result<alert::Backlog> read_backlog(SqliteFile& file, uint32_t limit) {
  alert::Backlog backlog;
  const auto last = last_event(file);
  if (!last) return pass(last);
  const auto place = file.integer("SELECT coalesce(max(place), 0) FROM event_origin");
  if (!place) return pass(place);
  backlog.newest_event = *last;
  backlog.newest_place = static_cast<uint64_t>(*place);
  auto rows = file.prepare("SELECT name, event, place, untold FROM alert_progress");
  if (!rows) return pass(rows);
  while (true) {
    auto more = rows->step();
    if (!more) return pass(more);
    if (!*more) break;
    backlog.progress[text_of(*rows, 0)] = {std::min(rows->number(1), *last), rows->number(2), rows->number(3)};
  }
  if (backlog.progress.empty()) return backlog;
  auto events =
      file.prepare(fmt::format("{} WHERE event.id > (SELECT min(event) FROM alert_progress) OR event.id IN (SELECT id FROM event_origin "
                               "WHERE place > (SELECT min(place) FROM alert_progress)) ORDER BY event.id DESC LIMIT ?",
                               kEvents));
  if (!events) return pass(events);
  events->bind(limit);
  auto read = events_of(*events);
  if (!read) return pass(read);
  backlog.events.assign(read->rbegin(), read->rend());
  return backlog;
}

Status prune(SqliteFile& file, uint64_t rows, int64_t oldest_ms, uint64_t least_rows) {
  // Ids and log positions rise without gaps worth mentioning: they count the rows.
  for (const char* sql : {"DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ? OR "
                          "(time_ms < ? AND id <= (SELECT max(id) FROM event) - ?)",
                          "DELETE FROM history WHERE position <= (SELECT max(position) FROM history) - ? OR "
                          "(time_ms < ? AND position <= (SELECT max(position) FROM history) - ?)"}) {
    auto statement = file.prepare(sql);
    if (!statement) return pass(statement);
    if (auto pruned = statement->bind(rows, oldest_ms, least_rows).run(); !pruned) return pruned;
  }
  return file.execute("DELETE FROM event_origin WHERE id < (SELECT min(id) FROM event)");
}

}  // namespace baton::event_rows
