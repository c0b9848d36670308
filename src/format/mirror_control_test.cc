// Round trips of every request and notice, and what is not JSON or not ours.
#include "src/format/mirror_control.h"

#include <gtest/gtest.h>

#include "src/format/mirror_report_json.h"

namespace baton::mirror_control {
namespace {

MirrorState sample_state() {
  MirrorState state;
  state.version = 7;
  state.permit = Permit(3);
  state.holder = ServerId(2);
  state.in_sync = {{ServerId(1), Incarnation(4)}, {ServerId(2), Incarnation(9)}};
  return state;
}

TEST(MirrorControl, RequestsSurviveTheWire) {
  const std::vector<Request> requests = {State{sample_state()}, Promote{Permit(5)},   Demote{}, Abort{"moved"},
                                         PeerLost{"server 2 left"}, Verify{}, Stop{}};
  for (const Request& request : requests) {
    const std::string line = encode(request);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    auto decoded = decode_request(line);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->index(), request.index());
    EXPECT_EQ(encode(*decoded), line);
  }
  auto state = decode_request(encode(Request(State{sample_state()})));
  EXPECT_EQ(std::get<State>(*state).state, sample_state());
}

TEST(MirrorControl, NoticesSurviveTheWire) {
  MirrorReport report;
  report.role = MirrorRole::kPrimary;
  report.link = MirrorLink::kCopying;
  report.generation = {UINT64_MAX, 17};
  report.copy = CopyKind::kFull;
  report.waiting = "in-sync = me";
  SetInSync change{"db.data", 4, Permit(2), {{ServerId(1), Incarnation(1)}}, "peer lost"};
  const std::vector<Notice> notices = {Report{report, "/dev/loop3"}, Propose{change},    Promoted{Permit(1), "/dev/loop3"},
                                       Demoted{},  Failed{"demote", "in use"}, Verified{10, 1}, Aborted{"lease"},
                                       Note{"two\nlines and \xff bytes"}};
  for (const Notice& notice : notices) {
    const std::string line = encode(notice);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    auto decoded = decode_notice(line);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->index(), notice.index());
    EXPECT_EQ(encode(*decoded), line);
  }
  EXPECT_EQ(std::get<Report>(*decode_notice(encode(notices[0]))).report, report);
  EXPECT_EQ(std::get<Propose>(*decode_notice(encode(notices[1]))).change, change);
}

TEST(MirrorControl, RefusesWhatItDoesNotUnderstand) {
  for (const char* line : {"", "{", "[]", "7", "{}", R"({"request":"dance"})", R"({"request":"promote"})",
                           R"({"request":"promote","permit":"x"})",
                           R"({"request":"state","state":{"version":1,"permit":1,"holder":1,"in_sync":{"a":1}}})"}) {
    auto decoded = decode_request(line);
    ASSERT_FALSE(decoded) << line;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid);
    EXPECT_FALSE(decode_notice(line)) << line;
  }
  EXPECT_TRUE(decode_request(R"({"request":"demote","later":"member"})"));
}

TEST(MirrorControl, SettingsSurvive) {
  DaemonSettings settings{"db.data", ServerId(1), ServerId(2), "/s", "/m", 1 << 20, "10.0.0.1", {"10.0.0.2", "10.1.0.2"},
                          7801, "/k", "/l", "/c", "/e"};
  auto decoded = decode_daemon_settings(encode(settings));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(encode(*decoded), encode(settings));
  EXPECT_EQ(decoded->peer_addresses.size(), 2u);
  auto missing = decode_daemon_settings("{}");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("key"), std::string::npos) << missing.error().message;
}

TEST(MirrorReportJson, NamesTheMemberThatIsWrong) {
  auto report = mirror_report_from_json(nlohmann::json{{"role", "primary"}, {"link", "sideways"}});
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("link"), std::string::npos);
  EXPECT_FALSE(mirror_report_from_json(nlohmann::json{{"permit", -1}}));
  EXPECT_TRUE(mirror_report_from_json(nlohmann::json::object()));
}

}  // namespace
}  // namespace baton::mirror_control
