// A real corosync in namespaces of its own: start, join, echo, adopt, loss and rejoin, stop.
#include "src/os/corosync_engine.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "src/os/group_messaging.h"
#include "src/os/link_status.h"
#include "src/os/test_namespace.h"

namespace baton {
namespace {

EngineConfig one_server() {
  EngineConfig config;
  config.cluster_name = "test";
  config.nodes = {{ServerId(7), "server7", {"127.0.0.1"}}};
  config.links = {{}};
  config.timing = *engine_timing("fast");
  return config;
}

const Bytes kKey(256, 0x5a);

void with_private_machine(const std::function<void()>& body) {
  in_namespaces(CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC, [&] {
    shell_or_fail(
        "mount -t tmpfs run /run && mount -t tmpfs shm /dev/shm && mount -t tmpfs lib /var/lib && "
        "mount -t tmpfs log /var/log && ip link set lo up");
    body();
  });
}

struct Group {
  explicit Group(EventLoop& loop)
      : messaging(loop, "test-group",
                  {.on_view = [this](const GroupView& view) { views.push_back(view); },
                   .on_message =
                       [this](const GroupMember&, std::span<const uint8_t> message) {
                         messages.emplace_back(message.begin(), message.end());
                       },
                   .on_lost = [this](const std::string& reason) { losses.push_back(reason); }},
                  {.retry = 10ms, .stuck_limit = 400ms}) {}

  std::vector<GroupView> views;
  std::vector<std::string> messages, losses;
  GroupMessaging messaging;
};

Bytes bytes_of(const std::string& text) { return Bytes(text.begin(), text.end()); }

TEST(CorosyncEngine, StartJoinEchoAdoptLoseRejoinStop) {
  with_private_machine([] {
    EventLoop loop;
    std::vector<std::string> ends;
    auto engine = std::make_unique<CorosyncEngine>(loop, EnginePaths{},
                                                   [&](const std::string& how) { ends.push_back(how); });
    Group group(loop);
    group.messaging.open();  // before there is a corosync: it waits
    EXPECT_FALSE(group.messaging.send(bytes_of("too early")).has_value());

    auto started = engine->start(one_server(), kKey);
    ASSERT_TRUE(started.has_value()) << started.error().message;
    EXPECT_EQ(*started, CorosyncEngine::Start::kStarted);
    ASSERT_TRUE(loop.run_until([&] { return group.messaging.joined(); }, 10s)) << group.messaging.waiting_for();
    EXPECT_EQ(group.messaging.local_server(), ServerId(7));
    ASSERT_EQ(group.views[0].members.size(), 1u);
    EXPECT_EQ(group.views[0].members[0], group.messaging.self());

    for (int i = 0; i < 500; ++i) ASSERT_TRUE(group.messaging.send(bytes_of(std::to_string(i))).has_value());
    ASSERT_TRUE(group.messaging.send(Bytes(GroupMessaging::kMaximumMessageBytes, 'x')).has_value());
    EXPECT_EQ(group.messaging.send(Bytes(GroupMessaging::kMaximumMessageBytes + 1)).error().code,
              ErrorCode::kInvalid);
    ASSERT_TRUE(loop.run_until([&] { return group.messages.size() == 501; }, 10s)) << group.messages.size();
    for (int i = 0; i < 500; ++i) EXPECT_EQ(group.messages[i], std::to_string(i));
    EXPECT_EQ(group.messages[500].size(), GroupMessaging::kMaximumMessageBytes);

    LinkStatusReader links(loop);
    bool read = false;
    links.read({ServerId(8)}, 2, [&](Result<std::vector<LinkStatus>> status) {
      ASSERT_TRUE(status.has_value()) << status.error().message;
      EXPECT_TRUE(status->empty());
      read = true;
    });
    EXPECT_TRUE(loop.run_until([&] { return read; }, 5s));

    // The next batond adopts it; with another configuration it says so.
    const pid_t pid = engine->pid();
    engine = std::make_unique<CorosyncEngine>(loop, EnginePaths{},
                                              [&](const std::string& how) { ends.push_back(how); });
    EXPECT_EQ(*engine->start(one_server(), kKey), CorosyncEngine::Start::kAdopted);
    EXPECT_EQ(engine->pid(), pid);
    auto other = one_server();
    other.timing = *engine_timing("wan");
    EXPECT_EQ(*engine->start(other, kKey), CorosyncEngine::Start::kAdoptedOtherConfiguration);
    bool applied = false;
    engine->apply(other, [&](Status status) {
      EXPECT_TRUE(status.has_value()) << status.error().message;
      applied = true;
    });
    ASSERT_TRUE(loop.run_until([&] { return applied; }, 10s));
    EXPECT_EQ(*engine->start(other, kKey), CorosyncEngine::Start::kAdopted);

    // kill -9: noticed by both, started anew, joined anew.
    ::kill(pid, SIGKILL);
    ASSERT_TRUE(loop.run_until([&] { return ends.size() == 1 && group.losses.size() == 1; }, 5s));
    ASSERT_EQ(*engine->start(one_server(), kKey), CorosyncEngine::Start::kStarted);
    ASSERT_TRUE(loop.run_until([&] { return group.messaging.joined(); }, 10s)) << group.messaging.waiting_for();

    bool stopped = false;
    engine->stop(5s, [&](Status status) { stopped = status.has_value(); });
    EXPECT_TRUE(loop.run_until([&] { return stopped && group.losses.size() == 2; }, 10s));
    EXPECT_FALSE(engine->running());
    EXPECT_EQ(ends.size(), 1u);
  });
}

EngineConfig two_servers() {
  EngineConfig config = one_server();
  config.nodes = {{ServerId(7), "server7", {"10.9.0.7"}}, {ServerId(8), "server8", {"10.9.0.8"}}};
  return config;
}

/// The other server: its own network, /run and shared memory at the far end of the cable; answers each message
/// that is not its own.
[[noreturn]] void be_server8() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) ::_exit(1);
  shell_or_fail(
      "echo $PPID >/var/lib/server8.new && mv /var/lib/server8.new /var/lib/server8; ip link set lo up;"
      "until ip link set b0 up 2>/dev/null; do sleep 0.01; done; ip addr add 10.9.0.8/24 dev b0;"
      "for place in /run /dev/shm /var/log; do mount -t tmpfs own $place; done; mkdir /var/lib/own;"
      "mount --bind /var/lib/own /var/lib");
  EventLoop loop;
  CorosyncEngine engine(loop, {}, [](const std::string&) { ::_exit(1); });
  GroupMessaging* group = nullptr;
  GroupMessaging messaging(loop, "test-group",
                           {.on_message = [&](const GroupMember& sender, std::span<const uint8_t> message) {
                             Bytes answer(message.begin(), message.end());
                             answer.push_back('!');
                             if (sender.server == ServerId(7) && !group->send(answer)) ::_exit(1);
                           }});
  group = &messaging;
  if (!engine.start(two_servers(), kKey)) ::_exit(1);
  messaging.open();
  loop.run();
  ::_exit(0);
}

TEST(CorosyncEngine, TwoServersAndACutCable) {
  with_private_machine([] {
    if (::fork() == 0) be_server8();
    EventLoop loop;
    ASSERT_TRUE(loop.run_until([] { return ::access("/var/lib/server8", F_OK) == 0; }, 5s));
    shell_or_fail(
        "ip link add a0 type veth peer name b0 netns $(cat /var/lib/server8) && "
        "ip addr add 10.9.0.7/24 dev a0 && ip link set a0 up");
    CorosyncEngine engine(loop, {}, [](const std::string& how) { ADD_FAILURE() << how; });
    ASSERT_TRUE(engine.start(two_servers(), kKey).has_value());
    Group group(loop);
    group.messaging.open();
    auto members = [&] { return group.views.empty() ? 0 : group.views.back().members.size(); };
    ASSERT_TRUE(loop.run_until([&] { return members() == 2; }, 15s)) << group.messaging.waiting_for();
    ASSERT_TRUE(group.messaging.send(bytes_of("hello")).has_value());
    ASSERT_TRUE(loop.run_until([&] { return group.messages.size() == 2; }, 5s));
    EXPECT_EQ(group.messages, (std::vector<std::string>{"hello", "hello!"}));

    LinkStatusReader reader(loop);
    std::vector<LinkStatus> links;
    auto connected_is = [&](bool wanted) {
      reader.read({ServerId(8), ServerId(9)}, 2, [&](Result<std::vector<LinkStatus>> status) {
        if (status) links = *status;
      });
      return links == std::vector<LinkStatus>{{ServerId(8), 0, wanted}};
    };
    EXPECT_TRUE(loop.run_until([&] { return connected_is(true); }, 5s));
    shell_or_fail("nsenter -t $(cat /var/lib/server8) -n ip link set b0 down");
    const Instant cut = EventLoop::now();
    ASSERT_TRUE(loop.run_until([&] { return members() == 1; }, 5s));
    EXPECT_LT(EventLoop::now() - cut, 1500ms);
    ASSERT_EQ(group.views.back().left.size(), 1u);
    EXPECT_EQ(group.views.back().left[0].member.server, ServerId(8));
    EXPECT_EQ(group.views.back().left[0].reason, GroupDeparture::Reason::kServerDown);
    EXPECT_TRUE(loop.run_until([&] { return connected_is(false); }, 5s));
    EXPECT_TRUE(group.messaging.joined());
  });
}

TEST(CorosyncEngine, AHangingCorosyncIsALossAndStopsNobody) {
  with_private_machine([] {
    EventLoop loop;
    int ends = 0;
    CorosyncEngine engine(loop, {}, [&](const std::string&) { ++ends; });
    ASSERT_TRUE(engine.start(one_server(), kKey).has_value());
    Group group(loop);
    group.messaging.open();
    ASSERT_TRUE(loop.run_until([&] { return group.messaging.joined(); }, 10s)) << group.messaging.waiting_for();
    ::kill(engine.pid(), SIGSTOP);
    const Instant begin = EventLoop::now();
    ASSERT_TRUE(group.messaging.send(bytes_of("into the void")).has_value());
    EXPECT_LT(EventLoop::now() - begin, 100ms);
    ASSERT_TRUE(loop.run_until([&] { return group.losses.size() == 1; }, 5s));
    EXPECT_FALSE(group.messaging.joined());
    engine.kill();
    ASSERT_TRUE(loop.run_until([&] { return ends == 1; }, 5s));
    ASSERT_TRUE(engine.start(one_server(), kKey).has_value());
    ASSERT_TRUE(loop.run_until([&] { return group.messaging.joined(); }, 10s)) << group.messaging.waiting_for();
    EXPECT_TRUE(group.messages.empty());
  });
}

TEST(CorosyncEngine, AForeignCorosyncIsNamed) {
  with_private_machine([] {
    EventLoop loop;
    EnginePaths elsewhere;
    elsewhere.runtime_directory = "/run/foreign";
    CorosyncEngine foreign(loop, elsewhere, [](const std::string&) {});
    ASSERT_TRUE(foreign.start(one_server(), kKey).has_value());
    ASSERT_TRUE(loop.run_until([] { return ::access("/run/corosync.pid", F_OK) == 0; }, 5s));
    CorosyncEngine ours(loop, {}, [](const std::string&) {});
    auto refused = ours.start(one_server(), kKey);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_NE(refused.error().message.find(std::to_string(foreign.pid())), std::string::npos);
  });
}

TEST(CorosyncEngine, ABadConfigurationEndsWithWhatCorosyncSaid) {
  with_private_machine([] {
    EventLoop loop;
    std::string said;
    CorosyncEngine engine(loop, {}, [&](const std::string& how) { said = how; });
    EXPECT_FALSE(engine.start(one_server(), Bytes(3)).has_value());
    auto config = one_server();
    config.nodes[0].addresses[0] = "192.0.2.1";  // not ours
    ASSERT_TRUE(engine.start(config, kKey).has_value());
    ASSERT_TRUE(loop.run_until([&] { return !said.empty(); }, 10s));
    EXPECT_NE(said.find("ended with status"), std::string::npos) << said;
  });
}

}  // namespace
}  // namespace baton
