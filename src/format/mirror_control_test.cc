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
  state.broken = true;
  state.forced = ServerId(2);
  state.trailing = {{ServerId(1), Incarnation(8)}};
  state.restricted = {ServerId(1)};
  return state;
}

TEST(MirrorControl, RequestsSurviveTheWire) {
  const std::vector<Request> requests = {State{sample_state()}, Promote{Permit(5)},   Demote{}, Abort{"moved"},
                                         PeerLost{"server 2 left"}, Verify{true}, Stop{},
                                         SetRate{50000000}, Discard{}, Grow{UINT64_MAX}, Backup{true}, Replace{},
                                         Prepare{}};
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
  report.protocol = MirrorProtocol::kA;
  report.copy_zero_bytes = 1;
  report.copy_bytes_per_second = 2;
  report.rate_limit = 3;
  report.lag_bytes = 4;
  report.read_errors = 5;
  report.detached = report.broken = report.backup = report.snapshot = true;
  report.slow = "the peer";
  Report full{report, "/dev/loop3", {}, {}, "nbd", "the kernel has no ublk", "/run/baton/nbd/db.data.sock"};
  full.metrics.writes = UINT64_MAX;
  full.metrics.total_us = 17.5;
  full.paths = {{"10.0.1.2", true, true, "TLS 1.3", 0.25, ""}, {"10.0.0.2", false, false, "", 0, "refused"}};
  SetInSync change{"db.data", 4, Permit(2), {{ServerId(1), Incarnation(1)}}, "peer lost", {{ServerId(2), Incarnation(9)}}};
  const std::vector<Notice> notices = {full, Propose{change},    Promoted{Permit(1), "/dev/loop3"},
                                       Demoted{},  Failed{"demote", "in use"}, Verified{10, 1, 1}, Aborted{"lease"},
                                       Note{"two\nlines and \xff bytes"}, Done{"backup", "/dev/nbd0"},
                                       Alert{"the disk failed"}};
  for (const Notice& notice : notices) {
    const std::string line = encode(notice);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    auto decoded = decode_notice(line);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->index(), notice.index());
    EXPECT_EQ(encode(*decoded), line);
  }
  EXPECT_EQ(std::get<Report>(*decode_notice(encode(notices[0]))).report, report);
  EXPECT_EQ(std::get<Report>(*decode_notice(encode(notices[0]))).metrics, full.metrics);
  EXPECT_EQ(std::get<Report>(*decode_notice(encode(notices[0]))).paths, full.paths);
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
  DaemonSettings settings;
  settings.key = "db.data";
  settings.self = ServerId(1);
  settings.peer = ServerId(2);
  settings.size_bytes = 1 << 20;
  settings.listen_address = "10.0.0.1";
  settings.more_listen_addresses = {"10.1.0.1"};
  settings.peer_addresses = {"10.0.0.2", "10.1.0.2"};
  settings.port = 7801;
  settings.protocol = MirrorProtocol::kB;
  settings.encrypt = settings.compress = true;
  settings.disk_timeout = milliseconds(1500);
  settings.link_timeout = milliseconds(2000);
  settings.path_timeout = milliseconds(170);
  settings.max_lag = milliseconds(4000);
  settings.rate_limit = 1000;
  auto decoded = decode_daemon_settings(encode(settings));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(encode(*decoded), encode(settings));
  EXPECT_EQ(decoded->peer_addresses.size(), 2u);
  EXPECT_EQ(decoded->disk_timeout, milliseconds(1500));
  EXPECT_EQ(decoded->max_lag, milliseconds(4000));
  EXPECT_EQ(decoded->protocol, MirrorProtocol::kB);
  auto old = decode_daemon_settings(R"({"key":"k","self":1,"peer":2,"store":"/s","metadata":"/m","size_bytes":4096,
      "listen_address":"","peer_addresses":[],"cluster_key_file":"","lease_page":"","socket":"","export_directory":""})");
  ASSERT_TRUE(old) << old.error().message;
  EXPECT_EQ(old->protocol, MirrorProtocol::kC);
  EXPECT_FALSE(old->encrypt);
  EXPECT_EQ(old->peer_timeout, milliseconds(6000));
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
