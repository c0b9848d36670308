// EventStore: append() puts into a list under a lock; the store's thread writes the list as one transaction. What could
// not be written stays in `backlog`, is shown by list() all the same and tried again each second.
#include "src/daemon/event_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <variant>

#include "src/daemon/event_rows.h"
#include "src/daemon/job_thread.h"

namespace baton {

using event_rows::AlertProgress;
using event_rows::History;
using nlohmann::json;

namespace {

constexpr uint64_t kRowsBetweenPrunes = 1000;
constexpr Duration kRetryInterval = 1s;
constexpr uint32_t kMostInBacklog = 2000;

using Row = std::variant<Event, History, AlertProgress>;

Status add_row(SqliteFile& file, const Event& event) { return event_rows::add_event(file, event); }
Status add_row(SqliteFile& file, const History& history) { return event_rows::add_history(file, history); }
Status add_row(SqliteFile& file, const AlertProgress& progress) { return event_rows::keep_progress(file, progress); }

}  // namespace

struct EventStore::Implementation {
  std::string path;
  std::string server;
  Post post;
  EventLimits limits;
  std::string vfs;

  mutable std::mutex mutex;
  std::vector<Row> appended;  // by the loop's thread, not yet seen by the store's
  uint64_t next_id = 1;
  bool flush_given = false;   // a job that takes them is in the queue
  std::string problem;

  // Only the store's thread.
  std::unique_ptr<SqliteFile> file;  // null after an error
  std::deque<Row> backlog;
  uint64_t newest_id = 0;
  uint64_t lost = 0;
  int64_t newest_ms = 0;
  uint64_t since_prune = 0;

  uint64_t history_before_start = 0;
  alert::Backlog alerts_before_start;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // callbacks are called while it lives; the loop's thread
  std::optional<JobThread> thread;                             // last: it uses all of the above

  Status open_file();
  Status open_first();
  Status look();
  Event append(Event event);
  void append(Row row);
  void append_row(Row row);
  void flush();
  void take_appended();
  Status write();
  void keep_within_limit();
  Status prune();
  Result<json> list(int64_t after, uint32_t limit, const std::string& group);
  Result<json> explain(const std::string& group, uint32_t count);
  void answer(std::function<Result<json>()> query, Done done);
};

Status EventStore::Implementation::open_file() {
  struct stat found {};
  const bool fresh = ::stat(path.c_str(), &found) != 0 || found.st_size == 0;
  // Beside a file that is gone, its log is worth nothing and would be played into the new one.
  if (fresh) ::unlink((path + "-wal").c_str());
  auto opened = SqliteFile::open(path, {.create = true, .synchronous_full = false, .vfs = vfs});
  if (!opened) return pass(opened);
  if (fresh) {
    if (auto created = event_rows::create_tables(**opened); !created) return created;
    ::chmod(path.c_str(), 0600);
  }
  auto known = check_sqlite_format(**opened, event_rows::kApplicationId, event_rows::kVersion);
  if (!known) return known;
  if (auto added = event_rows::add_tables(**opened); !added) return added;
  file = std::move(*opened);
  return {};
}

/// Opens the file and learns where it ends.
Status EventStore::Implementation::look() {
  if (auto opened = open_file(); !opened) return opened;
  if (auto whole = file->check(); !whole) return whole;
  const auto last = event_rows::last_event(*file);
  if (!last) return pass(last);
  const auto history = event_rows::last_history(*file);
  if (!history) return pass(history);
  auto alerts = event_rows::read_backlog(*file, kMostInBacklog);
  if (!alerts) return pass(alerts);
  next_id = *last + 1;
  newest_id = *last;
  history_before_start = *history;
  alerts_before_start = std::move(*alerts);
  return {};
}

Status EventStore::Implementation::open_first() {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::absolute(path).parent_path(), ignored);
  auto looked = look();
  if (looked || looked.error().code != ErrorCode::kInvalid) return looked;
  const std::string damage = looked.error().message;
  file.reset();
  for (const char* suffix : {"", "-wal"}) std::filesystem::rename(path + suffix, path + ".damaged" + suffix, ignored);
  if (auto again = look(); !again) return again;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  node::Note note;
  note.kind = "problem";
  note.text = fmt::format("the event log was damaged and is begun anew; the old one is {}.damaged ({})", path, damage);
  appended.push_back(Event{next_id++, std::chrono::duration_cast<milliseconds>(now).count(), 0, server, note});
  return {};
}

Event EventStore::Implementation::append(Event event) {
  std::lock_guard lock(mutex);
  event.id = next_id++;
  append_row(event);
  return event;
}

void EventStore::Implementation::append(Row row) {
  std::lock_guard lock(mutex);
  append_row(std::move(row));
}

/// REQUIRES: the lock is held.
void EventStore::Implementation::append_row(Row row) {
  appended.push_back(std::move(row));
  if (flush_given) return;
  flush_given = true;
  thread->run([this] { flush(); });
}

void EventStore::Implementation::take_appended() {
  std::vector<Row> taken;
  {
    std::lock_guard lock(mutex);
    taken.swap(appended);
    flush_given = false;
  }
  for (auto& row : taken) {
    if (const auto* event = std::get_if<Event>(&row)) {
      newest_ms = std::max(newest_ms, event->time_ms);
      newest_id = event->id;
    }
    backlog.push_back(std::move(row));
  }
}

void EventStore::Implementation::flush() {
  take_appended();
  if (backlog.empty()) return;
  const auto written = write();
  if (written) {
    backlog.clear();
    lost = 0;
  } else {
    file.reset();
    keep_within_limit();
  }
  std::lock_guard lock(mutex);
  problem = written ? "" : fmt::format("events cannot be recorded: {} ({} wait in memory, {} are lost)",
                                       written.error().message, backlog.size(), lost);
}

Status EventStore::Implementation::write() {
  if (file == nullptr) {
    if (auto opened = open_file(); !opened) return opened;
  }
  auto transaction = SqliteTransaction::begin(*file);
  if (!transaction) return pass(transaction);
  // A commit that failed may have happened after all: its events have their ids already.
  const auto last = event_rows::last_event(*file);
  if (!last) return pass(last);
  if (lost > 0) {
    node::Note note;
    note.kind = "problem";
    note.text = fmt::format("{} events before this one were not recorded: {} could not be written", lost, path);
    // The last event that was lost lends it the id.
    const auto next = std::find_if(backlog.begin(), backlog.end(),
                                   [](const Row& row) { return std::holds_alternative<Event>(row); });
    const auto* event = next == backlog.end() ? nullptr : &std::get<Event>(*next);
    const Event loss{event == nullptr ? newest_id : event->id - 1, event == nullptr ? newest_ms : event->time_ms,
                     event == nullptr ? 0 : event->monotonic_us, server, note};
    if (loss.id > *last) {
      if (auto added = event_rows::add_event(*file, loss); !added) return added;
    }
  }
  for (const auto& row : backlog) {
    const auto* event = std::get_if<Event>(&row);
    if (event != nullptr && event->id <= *last) continue;
    if (auto added = std::visit([this](const auto& one) { return add_row(*file, one); }, row); !added) return added;
  }
  since_prune += backlog.size();
  if (since_prune >= kRowsBetweenPrunes) {
    if (auto pruned = prune(); !pruned) return pruned;
    since_prune = 0;
  }
  return transaction->commit();
}

Status EventStore::Implementation::prune() {
  const int64_t oldest = newest_ms - std::chrono::duration_cast<milliseconds>(limits.age).count();
  return event_rows::prune(*file, limits.rows, oldest, limits.least_rows);
}

void EventStore::Implementation::keep_within_limit() {
  while (backlog.size() > limits.unwritten) {
    // History is written again at the next start from the cluster's log; only events are lost for good.
    if (std::holds_alternative<Event>(backlog.front())) ++lost;
    backlog.pop_front();
  }
}

Result<json> EventStore::Implementation::list(int64_t after, uint32_t limit, const std::string& group) {
  flush();
  std::vector<Event> events;
  // A file that cannot be written may be readable; what is in memory is shown in any case.
  if (file != nullptr || open_file()) {
    auto read = event_rows::read_events(*file, after, limit, group);
    if (!read) return pass(read);
    events = std::move(*read);
  }
  for (const auto& row : backlog) {
    const auto* event = std::get_if<Event>(&row);
    if (event == nullptr || static_cast<int64_t>(event->id) <= after) continue;
    if (!events.empty() && event->id <= events.back().id) continue;
    if (!group.empty() && event->note.group != group) continue;
    if (after >= 0 && events.size() >= limit) break;
    events.push_back(*event);
  }
  if (events.size() > limit) events.erase(events.begin(), events.end() - limit);
  json list = json::array();
  for (const auto& event : events) list.push_back(event_rows::to_json(event));
  // Without any: everything there is has been looked at.
  const uint64_t last = !events.empty() ? events.back().id : after >= 0 ? static_cast<uint64_t>(after) : newest_id;
  return json{{"events", std::move(list)}, {"last", last}};
}

Result<json> EventStore::Implementation::explain(const std::string& group, uint32_t count) {
  flush();
  if (file == nullptr) {
    if (auto opened = open_file(); !opened) return pass(opened);
  }
  auto transitions = event_rows::read_transitions(*file, group, count);
  if (!transitions) return pass(transitions);
  json list = json::array();
  for (const auto& transition : *transitions) list.push_back(event_rows::to_json(transition));
  return json{{"group", group}, {"transitions", std::move(list)}};
}

void EventStore::Implementation::answer(std::function<Result<json>()> query, Done done) {
  std::weak_ptr<bool> still = alive;
  thread->run([this, query = std::move(query), done = std::move(done), still] {
    post([done, still, found = query()] {
      if (!still.expired()) done(found);
    });
  });
}

EventStore::EventStore(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

EventStore::~EventStore() {
  implementation_->alive.reset();
  implementation_->thread->run([self = implementation_.get()] { self->flush(); });
  implementation_->thread.reset();
}

Result<std::unique_ptr<EventStore>> EventStore::open(const std::string& path, const std::string& server, Post post,
                                                     EventLimits limits, const std::string& vfs) {
  auto implementation = std::make_unique<Implementation>();
  implementation->path = path;
  implementation->server = server;
  implementation->post = std::move(post);
  implementation->limits = limits;
  implementation->vfs = vfs;
  if (auto opened = implementation->open_first(); !opened) return pass(opened);
  implementation->thread.emplace(
      "event-store", [self = implementation.get()] { self->flush(); }, kRetryInterval);
  return std::unique_ptr<EventStore>(new EventStore(std::move(implementation)));
}

void EventStore::keep_progress(const std::string& name, const std::optional<alert::Progress>& progress) {
  implementation_->append(Row(AlertProgress{name, progress}));
}

const alert::Backlog& EventStore::alerts_before_start() const { return implementation_->alerts_before_start; }

Event EventStore::append(const node::Note& note, int64_t time_ms, int64_t monotonic_us) {
  return implementation_->append(Event{0, time_ms, monotonic_us, implementation_->server, note});
}

void EventStore::append_history(const database::Entry& entry, const Applied& outcome) {
  implementation_->append(Row(event_rows::to_history(entry, outcome)));
}

uint64_t EventStore::history_before_start() const { return implementation_->history_before_start; }

void EventStore::list(int64_t after, uint32_t limit, const std::string& group, Done done) {
  implementation_->answer([self = implementation_.get(), after, limit, group] { return self->list(after, limit, group); },
                          std::move(done));
}

void EventStore::explain(const std::string& group, uint32_t count, Done done) {
  implementation_->answer([self = implementation_.get(), group, count] { return self->explain(group, count); },
                          std::move(done));
}

std::string EventStore::problem() const {
  std::lock_guard lock(implementation_->mutex);
  return implementation_->problem;
}

}  // namespace baton
