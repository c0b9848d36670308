// Which kind is chosen, and the composite over the kind that every kernel has. The second half needs root,
// /dev/fuse and loop devices; skipped without.
#include "src/mirror/export_choice.h"

#include <gtest/gtest.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

namespace baton::mirror {
namespace {

TEST(ExportChoiceTest, AutoTakesTheBest) {
  using Kinds = std::vector<std::string>;
  const auto both = choose_export("auto", {true, true});
  ASSERT_TRUE(both);
  EXPECT_EQ(both->kinds, (Kinds{"ublk", "nbd", "fuse"}));
  EXPECT_EQ(choose_export("auto", {false, true})->kinds, (Kinds{"nbd", "fuse"}));
  const auto none = choose_export("auto", {});
  EXPECT_EQ(none->kinds, (Kinds{"fuse"}));
  EXPECT_EQ(none->reason, "this kernel has neither ublk nor an NBD driver");
}

TEST(ExportChoiceTest, AForcedKindMustBeThere) {
  EXPECT_EQ(choose_export("fuse", {true, true})->kinds, (std::vector<std::string>{"fuse"}));
  EXPECT_EQ(choose_export("nbd", {true, true})->reason, "as configured");
  const auto missing = choose_export("ublk", {false, true});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(missing.error().message.find("ublk_drv"), std::string::npos) << missing.error().message;
  EXPECT_EQ(choose_export("iscsi", {}).error().code, ErrorCode::kInvalid);
}

class MirrorExportTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kSize = 8 << 20;

  void SetUp() override {
    if (getuid() != 0 || access("/dev/fuse", R_OK) != 0 || access("/dev/loop-control", R_OK) != 0) {
      GTEST_SKIP() << "needs root, /dev/fuse and /dev/loop-control";
    }
    char pattern[] = "/var/tmp/baton-export-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    const MirrorExport::Settings settings{"test.disk", kSize, directory_, "fuse", directory_ + "/nbd", nullptr};
    export_ = std::make_unique<MirrorExport>(
        *ring_, pool_, settings, [this](const ClientRequest& request) { serve(request); },
        [](const std::string&) {}, [](const std::string&) {});
  }
  void TearDown() override {
    if (!ring_) return;
    bool done = false;
    export_->abort([&] { done = true; });
    run_until([&] { return done; });
    run_until([] { return false; }, 50ms);
    std::filesystem::remove_all(directory_);
  }
  void serve(const ClientRequest& request) {
    last_ = request;
    if (request.buffer != 0) {
      std::memset(pool_.data(request.buffer), 3, request.range.count * kBlockBytes);
      pool_.release(request.buffer);
    }
    if (!frozen_) ring_->after(Duration::zero(), [this, id = request.id] { export_->complete(id, true); });
  }
  bool run_until(const std::function<bool()>& done, Duration limit = 20s) {
    return ring_->run_until(
        [&] {
          export_->flush();
          return done();
        },
        limit);
  }
  void open() {
    std::optional<Result<std::string>> device;
    export_->open([&](Result<std::string> opened) { device = opened; });
    ASSERT_TRUE(run_until([&] { return device.has_value(); }));
    ASSERT_TRUE(*device) << device->error().message;
  }
  OwnedFd connect() {
    OwnedFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    export_->nbd_socket().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(run_until([&] { return export_->nbd_clients() == 1; }));
    return client;
  }

  std::string directory_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
  std::unique_ptr<MirrorExport> export_;
  ClientRequest last_;
  bool frozen_ = false;
};

TEST_F(MirrorExportTest, DeviceAndSocketLiveTogether) {
  open();
  EXPECT_EQ(export_->kind(), "fuse");
  EXPECT_EQ(export_->reason(), "as configured");
  EXPECT_EQ(export_->nbd_socket(), directory_ + "/nbd");
  const OwnedFd client = connect();
  std::optional<Status> closed;
  export_->close([&](Status status) { closed = status; });
  ASSERT_TRUE(run_until([&] { return closed.has_value(); }));
  EXPECT_TRUE(*closed) << closed->error().message;
  EXPECT_EQ(export_->nbd_clients(), 0u);  // told goodbye
  EXPECT_EQ(export_->nbd_socket(), "");
  EXPECT_EQ(export_->device(), "");
  open();
}

TEST_F(MirrorExportTest, AnAbortEndsBoth) {
  open();
  const OwnedFd client = connect();
  bool aborted = false;
  export_->abort([&] { aborted = true; });
  ASSERT_TRUE(run_until([&] { return aborted; }));
  EXPECT_EQ(export_->nbd_clients(), 0u);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/nbd"));
  export_->complete(last_.id, true);  // too late, and harmless
}

}  // namespace
}  // namespace baton::mirror
