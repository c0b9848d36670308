// Event log and history: order, filters, bounds, a full disk, a damaged file.
#include "src/daemon/event_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/daemon/sqlite_faults.h"
#include "src/daemon/sqlite_file.h"
#include "src/os/event_loop.h"

namespace baton {
namespace {

using nlohmann::json;

class EventStoreTest : public ::testing::Test {
 protected:
  EventStoreTest() {
    std::string pattern = ::testing::TempDir() + "event_store.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/events.sqlite";
  }
  ~EventStoreTest() override {
    sqlite_faults().full = false;
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  void open(EventLimits limits = {}) {
    store_.reset();
    auto opened = EventStore::open(
        path_, "server1", [this](std::function<void()> call) { loop_.post(std::move(call)); }, limits,
        faulty_sqlite_vfs());
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    store_ = std::move(*opened);
  }

  void append(const std::string& text, const std::string& group = "db", int64_t time_ms = 1000) {
    node::Note note;
    note.kind = "transition";
    note.group = group;
    note.text = text;
    note.causes = {"because", "\xff"};
    note.resource = "data";
    note.action = "start";
    note.outcome = "ok";
    note.took_us = 5;
    store_->append(note, time_ms, 77);
  }

  json list(int64_t after, uint32_t limit = 100, const std::string& group = "") {
    return wait([&](EventStore::Done done) { store_->list(after, limit, group, std::move(done)); });
  }

  json explain(const std::string& group, uint32_t count = 20) {
    return wait([&](EventStore::Done done) { store_->explain(group, count, std::move(done)); });
  }

  json wait(const std::function<void(EventStore::Done)>& ask) {
    std::optional<json> answer;
    ask([&](const Result<json>& found) { answer = found ? *found : json(found.error().message); });
    EXPECT_TRUE(loop_.run_until([&] { return answer.has_value(); }, 20s));
    return answer.value_or(json());
  }

  static std::string texts(const json& listed) {
    std::string all;
    for (const auto& event : listed.at("events")) all += (all.empty() ? "" : " ") + event.at("text").get<std::string>();
    return all;
  }

  std::string directory_, path_;
  EventLoop loop_;
  std::unique_ptr<EventStore> store_;
};

database::Entry entry(uint64_t index, Command command, int64_t wall_ms = 5000) {
  return {Epoch(65), index, std::move(command), ServerId(1), index, wall_ms};
}

TEST_F(EventStoreTest, ListsInOrderAndByGroup) {
  open();
  EXPECT_EQ(list(-1)["last"], 0);
  for (const char* text : {"a", "b", "c", "d"}) append(text, text[0] == 'c' ? "web" : "db");
  EXPECT_EQ(texts(list(0)), "a b c d");
  EXPECT_EQ(texts(list(0, 2)), "a b");
  EXPECT_EQ(list(0, 2)["last"], 2);
  EXPECT_EQ(texts(list(2)), "c d");
  EXPECT_EQ(texts(list(-1, 2)), "c d");
  EXPECT_EQ(texts(list(-1, 2, "db")), "b d");
  EXPECT_EQ(texts(list(0, 9, "web")), "c");
  EXPECT_EQ(list(4)["last"], 4);
  EXPECT_EQ(texts(list(4)), "");
  open();
  append("e");
  EXPECT_EQ(texts(list(3)), "d e");
}

TEST_F(EventStoreTest, JsonIsAsDocumented) {
  open();
  append("printed \xc3\x28 and \xe2\x82\xac");
  const json event = list(0)["events"][0];
  EXPECT_EQ(event["id"], 1);
  EXPECT_EQ(event["time_ms"], 1000);
  EXPECT_EQ(event["monotonic_us"], 77);
  EXPECT_EQ(event["server"], "server1");
  EXPECT_EQ(event["group"], "db");
  EXPECT_EQ(event["kind"], "transition");
  EXPECT_EQ(event["text"], "printed \xef\xbf\xbd( and \xe2\x82\xac");
  EXPECT_EQ(event["causes"], json::array({"because", "\xef\xbf\xbd"}));
  EXPECT_EQ(event["took_us"], 5);
  EXPECT_EQ(event["resource"], "data");
  EXPECT_EQ(event["action"], "start");
  EXPECT_EQ(event["outcome"], "ok");
  EXPECT_NO_THROW((void)event.dump());
}

TEST_F(EventStoreTest, ExplainsTransitions) {
  open();
  AssignGroup assign;
  assign.group = "db";
  assign.server = ServerId(2);
  assign.reason = "server1 lost";
  assign.causes = {"view 1,2,3 -> 2,3"};
  SetGroupPhase phase;
  phase.group = "db";
  phase.phase = GroupPhase::kStarted;
  phase.reason = "all resources are up";
  phase.steps = {{"data", "start", 1500, "ok"}};
  const auto record = [&] {
    store_->append_history(entry(1, StartEpoch{ServerId(1)}), {true, ""});
    store_->append_history(entry(2, assign), {true, ""});
    store_->append_history(entry(3, assign), {false, "the group has changed"});
    store_->append_history(entry(4, phase, 6000), {true, ""});
    store_->append_history(entry(5, SetInSync{"db.data", 1, Permit(1), {}, "peer lost"}), {true, ""});
  };
  record();
  EXPECT_EQ(store_->history_before_start(), 0u);
  const json explained = explain("db");
  EXPECT_EQ(explained["group"], "db");
  ASSERT_EQ(explained["transitions"].size(), 2u);
  const json& newest = explained["transitions"][0];
  EXPECT_EQ(newest["index"], 4);
  EXPECT_EQ(newest["time_ms"], 6000);
  EXPECT_EQ(newest["steps"][0]["took_us"], 1500);
  EXPECT_EQ(explained["transitions"][1]["causes"][0], "view 1,2,3 -> 2,3");
  EXPECT_EQ(explained["transitions"][1]["reason"], "server1 lost");
  open();
  EXPECT_EQ(store_->history_before_start(), 5u);
  record();
  EXPECT_EQ(explain("db"), explained);
  EXPECT_EQ(explain("db", 1)["transitions"].size(), 1u);
  EXPECT_TRUE(explain("web")["transitions"].empty());
}

TEST_F(EventStoreTest, HistoryOfAnotherLogIsReplaced) {
  open();
  for (uint64_t index = 1; index <= 5; ++index)
    store_->append_history(entry(index, WishGroup{"db", index, true, {}, "old", "root"}), {true, ""});
  store_->append_history(entry(2, WishGroup{"db", 9, false, {}, "new", "root"}, 9000), {true, ""});
  const json transitions = explain("db")["transitions"];
  ASSERT_EQ(transitions.size(), 2u);
  EXPECT_EQ(transitions[0]["reason"], "new");
}

TEST_F(EventStoreTest, IsBounded) {
  EventLimits limits;
  limits.rows = 1500;
  limits.least_rows = 10;
  open(limits);
  for (int i = 0; i < 4000; ++i) append(std::to_string(i));
  EXPECT_EQ(list(-1)["last"], 4000);
  for (int i = 0; i < 1000; ++i) append("n");
  const json all = list(0, 100000);
  EXPECT_LE(all["events"].size(), 2500u);
  EXPECT_EQ(all["last"], 5000);
  const int64_t year_ms = 365ll * 24 * 3600 * 1000;
  for (int i = 0; i < 2500; ++i) append("later", "db", year_ms);
  (void)list(-1);
  const json later = list(0, 100000)["events"];
  EXPECT_GE(later.size(), 1000u);
  for (const auto& event : later) EXPECT_EQ(event["text"], "later");
}

TEST_F(EventStoreTest, FullDiskLosesNothingWithinTheLimit) {
  EventLimits limits;
  limits.unwritten = 5;
  open(limits);
  append("a");
  EXPECT_EQ(texts(list(0)), "a");
  sqlite_faults().full = true;
  for (const char* text : {"b", "c", "d"}) append(text);
  EXPECT_EQ(texts(list(0)), "a b c d");
  EXPECT_NE(store_->problem().find("full"), std::string::npos) << store_->problem();
  sqlite_faults().full = false;
  EXPECT_TRUE(loop_.run_until([&] { return store_->problem().empty(); }, 20s));
  open(limits);
  EXPECT_EQ(texts(list(0)), "a b c d");
}

TEST_F(EventStoreTest, CountsWhatAFullDiskLost) {
  EventLimits limits;
  limits.unwritten = 3;
  open(limits);
  append("a");
  (void)list(0);
  sqlite_faults().full = true;
  for (const char* text : {"b", "c", "d", "e", "f"}) append(text);
  EXPECT_EQ(texts(list(0)), "a d e f");
  EXPECT_NE(store_->problem().find("2 are lost"), std::string::npos) << store_->problem();
  sqlite_faults().full = false;
  (void)list(0);
  EXPECT_EQ(store_->problem(), "");
  append("g");
  const json listed = list(0);
  EXPECT_EQ(texts(listed).find("a 2 events before this one were not recorded"), 0u) << texts(listed);
  EXPECT_EQ(listed["events"][1]["kind"], "problem");
  EXPECT_EQ(listed["events"].back()["text"], "g");
  EXPECT_EQ(listed["events"].size(), 6u);
}

TEST_F(EventStoreTest, DamagedFileIsSetAside) {
  std::ofstream(path_) << std::string(8192, 'x');
  open();
  EXPECT_TRUE(std::filesystem::exists(path_ + ".damaged"));
  append("a");
  const json listed = list(0);
  ASSERT_EQ(listed["events"].size(), 2u);
  EXPECT_EQ(listed["events"][0]["kind"], "problem");
}

TEST_F(EventStoreTest, KnowsHowFarAlertsHaveGot) {
  open();
  EXPECT_TRUE(store_->alerts_before_start().progress.empty());
  for (int i = 0; i < 3; ++i) append("old");
  EXPECT_EQ(
      store_
          ->append({.kind = "transition", .text = "four", .severity = Severity::kAlert, .place = of_entry(9, 1), .everywhere = true}, 1, 1)
          .id,
      4u);
  append("five");
  store_->keep_progress("ops", alert::Progress{3, of_entry(9, 0), 2});
  store_->keep_progress("gone", alert::Progress{0, 0, 0});
  store_->keep_progress("gone", std::nullopt);
  open();
  const auto& backlog = store_->alerts_before_start();
  ASSERT_EQ(backlog.progress.size(), 1u);
  EXPECT_EQ(backlog.progress.at("ops"), (alert::Progress{3, of_entry(9, 0), 2}));
  EXPECT_EQ(backlog.newest_event, 5u);
  EXPECT_EQ(backlog.newest_place, of_entry(9, 1));
  ASSERT_EQ(backlog.events.size(), 2u);
  EXPECT_EQ(backlog.events[0].note.text, "four");
  EXPECT_EQ(backlog.events[0].note.place, of_entry(9, 1));
  EXPECT_EQ(backlog.events[0].note.severity, Severity::kAlert);
  EXPECT_TRUE(backlog.events[0].note.everywhere);
  EXPECT_EQ(backlog.events[1].note.text, "five");
  EXPECT_EQ(backlog.events[1].note.place, 0u);
  EXPECT_EQ(list(3)["events"][0]["severity"], "alert");
  EXPECT_EQ(list(3)["events"][0]["entry"], 9);
}

TEST_F(EventStoreTest, AFileOfAnEarlierVersionIsGoneOnWith) {
  open();
  append("old");
  store_.reset();
  {
    auto file = SqliteFile::open(path_, {});
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE((*file)->execute("DROP TABLE event_origin; DROP TABLE alert_progress;"));
  }
  open();
  EXPECT_EQ(texts(list(0)), "old");
  store_->keep_progress("ops", alert::Progress{1, 0, 0});
  open();
  EXPECT_EQ(store_->alerts_before_start().progress.size(), 1u);
}

TEST_F(EventStoreTest, WritesWhatWasAppendedBeforeItEnds) {
  open();
  for (int i = 0; i < 100; ++i) append("x");
  open();
  EXPECT_EQ(list(-1)["last"], 100);
}

}  // namespace
}  // namespace baton
