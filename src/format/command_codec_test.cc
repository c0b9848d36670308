// Round trips of every kind of command, and bytes that are none.
#include "src/format/command_codec.h"

#include <gtest/gtest.h>

#include <random>

#include "src/format/cluster.pb.h"

namespace baton {
namespace {

std::vector<Command> samples() {
  AssignGroup assign;
  assign.group = "db";
  assign.expected_version = 7;
  assign.server = ServerId(2);
  assign.mirror_versions = {{"db.data", 3}, {"db.wal", UINT64_MAX}};
  assign.reported = {{"db.data", {{ServerId(1), Incarnation(4)}, {ServerId(2), Incarnation(9)}}}, {"db.wal", {}}};
  assign.alone = true;
  assign.reason = "server1 lost";
  assign.causes = {"view 1,2,3 -> 2,3", "", "lease over"};
  SetGroupPhase phase;
  phase.group = "db";
  phase.expected_version = 8;
  phase.server = ServerId(2);
  phase.phase = GroupPhase::kStopping;
  phase.failure = std::string("printed \xff\xfe and a zero \0 byte", 30);
  phase.reason = "resource failed";
  phase.steps = {{"data", "start", 1234, "ok"}, {"db", "start", -1, "timed out"}};
  WishGroup wish{"db", 3, true, ServerId(64), "maintenance", "operator"};
  assign.loss = "the last 5 s";
  assign.unused = {"db.data", "db.logs"};
  assign.failover = true;
  SetInSync in_sync{"db.data", 4, Permit(11), {{ServerId(2), Incarnation(5)}}, "peer lost", {{ServerId(1), Incarnation(7)}}};
  wish.park = ServerId(2);
  wish.lost = ServerId(3);
  phase.cause = "service";
  phase.clock_ms = 1234567;
  phase.interrupted = true;
  const SetStanding standing{ServerId(1), 3, ServerStanding::kIsolated, "was lost", "root", 77, 99, UINT64_MAX};
  const SetSuspension suspension{"db", ServerId(2), 4, true, 5000, "root", "new disks", 78};
  const SetDrain drain{ServerId(2), 5, true, "root", "upgrade", 79};
  const SetShutdown shutdown{ServerId(2), 6, SetShutdown::Step::kEnd, false, Afterwards::kPowerOff, "root", "upgrade",
                             80, 90, {{ServerId(1), 7}, {ServerId(2), UINT64_MAX}}, true};
  return {standing, suspension, drain, shutdown, HoldGroup{"db", 7, ServerId(1), "breaker"},
          ReleaseGroup{"db", 8, "root"}, RaiseFormatLevel{3},
          RestoreDatabase{{ServerId(1), ServerId(63)}, UINT64_MAX, 1700000000000, "server1", "root", "0123456789abcdef"}, RestoreDatabase{},
          RotateKeys{4, RotateKeys::Step::kBegin, ServerId(2), "0a", "0b", "root", "old", 5, 6}, RotateKeys{},
          RotateKeys{1, RotateKeys::Step::kCertificates}, SetStanding{}, SetSuspension{}, SetDrain{}, SetShutdown{},
          ApplyConfiguration{2, "text", "root", 2},
          StartEpoch{ServerId(3)}, ApplyConfiguration{2, "[cluster]\nname = \"demo\"\n", "root"}, assign, phase, wish,
          in_sync, BreakMirror{"db.data", 5, true, "root"},
          ForceMirror{"db.data", 6, ServerId(2), Incarnation(UINT64_MAX), "4 MiB written since", "root"},
          RestrictMirror{"db.data", 7, ServerId(1), true, "root"}, BreakMirror{}, ForceMirror{}, RestrictMirror{}, RecordFence{},
          RecordFence{ServerId(2), 4, FenceOutcome::kFailed, "the agent said no", "root"},
          StartEpoch{}, ApplyConfiguration{}, AssignGroup{}, SetGroupPhase{}, WishGroup{}, SetInSync{}, SetVoters{}, TakeOver{ServerId(2), "gone", "root"},
          SetVoters{{{ServerId(1), ServerId(3), ServerId(63)}, {ServerId(1), ServerId(3)}}}};
}

TEST(CommandCodec, RoundTrips) {
  for (const Command& command : samples()) {
    auto decoded = decode_command(encode_command(command));
    ASSERT_TRUE(decoded.has_value()) << command.index() << ": " << decoded.error().message;
    EXPECT_EQ(*decoded, command) << command.index();
  }
}

TEST(CommandCodec, EveryPhaseRoundTrips) {
  for (GroupPhase phase : {GroupPhase::kStopped, GroupPhase::kStarting, GroupPhase::kStarted, GroupPhase::kStopping,
                           GroupPhase::kFailed}) {
    SetGroupPhase command;
    command.phase = phase;
    auto decoded = decode_command(encode_command(command));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(std::get<SetGroupPhase>(*decoded).phase, phase);
  }
}

TEST(CommandCodec, FutureKindIsRefusedByName) {
  const std::string field_100 = "\xa2\x06\x01x";  // field 100, one byte
  auto decoded = decode_command(field_100);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_NE(decoded.error().message.find("upgrade Baton"), std::string::npos);
}

TEST(CommandCodec, FuturePhaseIsRefused) {
  wire::Command command;
  command.mutable_set_group_phase()->set_phase(static_cast<wire::GroupPhase>(77));
  auto decoded = decode_command(command.SerializeAsString());
  ASSERT_FALSE(decoded.has_value());
  EXPECT_NE(decoded.error().message.find("77"), std::string::npos);
}

TEST(CommandCodec, UnknownFieldsAreTolerated) {
  wire::Command command;
  command.mutable_start_epoch()->set_leader(5);
  auto decoded = decode_command(command.SerializeAsString() + "\xa2\x06\x01x");
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<StartEpoch>(*decoded).leader, ServerId(5));
}

TEST(CommandCodec, DamagedBytesAreSafe) {
  EXPECT_FALSE(decode_command("").has_value());
  std::mt19937 random(1);
  for (const Command& command : samples()) {
    const std::string bytes = encode_command(command);
    for (size_t length = 0; length < bytes.size(); ++length) (void)decode_command(bytes.substr(0, length));
    for (int round = 0; round < 500 && !bytes.empty(); ++round) {
      std::string damaged = bytes;
      for (int flip = 0; flip < 3; ++flip) damaged[random() % damaged.size()] = static_cast<char>(random());
      (void)decode_command(damaged);
    }
  }
}

}  // namespace
}  // namespace baton
