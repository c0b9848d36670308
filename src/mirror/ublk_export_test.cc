// The export's states over a fake driver: no kernel here has ublk (docs/exports.md).
#include "src/mirror/ublk_export.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "src/base/bytes.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kSize = 64 << 20;

/// Remembers what was asked; answers when the test says so.
class FakeDriver : public UblkDriver {
 public:
  void add(uint32_t depth, uint32_t, Done done) override {
    depth_ = depth;
    pending["add"] = std::move(done);
  }
  void set_parameters(const Parameters& given, Done done) override {
    parameters = given;
    pending["parameters"] = std::move(done);
  }
  Status fetch_all(Fetched callback) override {
    fetched = std::move(callback);
    return {};
  }
  void start(Done done) override { pending["start"] = std::move(done); }
  Request request(uint32_t tag) const override { return requests.at(tag); }
  int64_t copy_from(uint32_t, uint8_t* to, uint32_t bytes) override {
    std::memset(to, 0x5a, bytes);
    return bytes;
  }
  int64_t copy_to(uint32_t tag, const uint8_t* from, uint32_t bytes) override {
    read_data[tag].assign(from, from + bytes);
    return bytes;
  }
  void commit_and_fetch(uint32_t tag, int result) override { committed.emplace_back(tag, result); }
  void resize(uint64_t size_bytes, Done done) override {
    parameters.size_bytes = size_bytes;
    pending["resize"] = std::move(done);
  }
  void stop(Done done) override { pending["stop"] = std::move(done); }
  void remove(Done done) override { pending["remove"] = std::move(done); }
  void flush() override { ++flushes; }

  void answer(const std::string& what, int result) {
    auto done = pending.extract(what);
    ASSERT_FALSE(done.empty()) << what << " was not asked";
    done.mapped()(result);
  }
  void arrive(uint32_t tag, Request::Operation operation, uint64_t offset, uint32_t bytes, bool fua = false) {
    requests[tag] = {operation, fua, false, offset, bytes};
    fetched(tag, 0);
  }

  uint32_t depth_ = 0;
  Parameters parameters;
  Fetched fetched;
  std::map<std::string, Done> pending;
  std::map<uint32_t, Request> requests;
  std::map<uint32_t, Bytes> read_data;
  std::vector<std::pair<uint32_t, int>> committed;
  int flushes = 0;
};

using Operation = UblkDriver::Request::Operation;
using Committed = std::vector<std::pair<uint32_t, int>>;

class UblkExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-ublk-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    export_ = std::make_unique<UblkExport>(
        *ring_, pool_, "test.disk", kSize, directory_, false,
        [this](const ClientRequest& request) { requests_.push_back(request); },
        [this](const std::string& reason) { lost_ = reason; }, [](const std::string&) {},
        [this]() -> Result<std::shared_ptr<UblkDriver>> {
          driver_ = std::make_shared<FakeDriver>();
          return driver_;
        });
  }
  void TearDown() override {
    for (const ClientRequest& request : requests_) {
      if (request.buffer != 0) pool_.release(request.buffer);
    }
    export_.reset();
    EXPECT_EQ(pool_.in_use(), 0u);
    std::filesystem::remove_all(directory_);
  }

  void open() {
    export_->open([this](Result<std::string> device) { opened_ = device; });
    driver_->answer("add", 3);
    driver_->answer("parameters", 0);
    EXPECT_EQ(driver_->parameters.size_bytes, kSize);
    EXPECT_FALSE(opened_);
    driver_->answer("start", 0);
    ASSERT_TRUE(opened_);
    ASSERT_TRUE(*opened_);
    EXPECT_EQ(**opened_, "/dev/ublkb3");
  }
  bool abort() {
    bool done = false;
    export_->abort([&] { done = true; });
    return ring_->run_until([&] { return done; }, 1s);
  }

  std::string directory_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
  std::shared_ptr<FakeDriver> driver_;
  std::unique_ptr<UblkExport> export_;
  std::vector<ClientRequest> requests_;
  std::optional<Result<std::string>> opened_;
  std::string lost_;
};

TEST_F(UblkExportTest, RequestsGoInAndAnswersOut) {
  open();
  driver_->arrive(0, Operation::kWrite, 8192, 8192, true);
  driver_->arrive(1, Operation::kRead, 0, 4096);
  driver_->arrive(2, Operation::kFlush, 0, 0);
  driver_->arrive(3, Operation::kDiscard, 4096, 1 << 20);
  ASSERT_EQ(requests_.size(), 4u);
  EXPECT_EQ(requests_[0].range, (BlockRange{2, 2}));
  EXPECT_TRUE(requests_[0].force_unit_access);
  EXPECT_EQ(pool_.data(requests_[0].buffer)[8191], 0x5a);
  EXPECT_EQ(requests_[3].kind, RequestKind::kZero);
  EXPECT_TRUE(requests_[3].unmap);
  std::memset(pool_.data(requests_[1].buffer), 7, 4096);
  for (const ClientRequest& request : requests_)
    export_->complete(request.id, request.kind != RequestKind::kFlush);
  EXPECT_EQ(driver_->committed, (Committed{{0, 8192}, {1, 4096}, {2, -EIO}, {3, 1 << 20}}));
  EXPECT_EQ(driver_->read_data[1], Bytes(4096, 7));
}

TEST_F(UblkExportTest, BadRequestsAreRefused) {
  open();
  driver_->arrive(0, Operation::kWrite, 512, 4096);
  driver_->arrive(1, Operation::kRead, kSize, 4096);
  driver_->arrive(2, Operation::kUnknown, 0, 4096);
  EXPECT_TRUE(requests_.empty());
  EXPECT_EQ(driver_->committed, (Committed{{0, -EINVAL}, {1, -EINVAL}, {2, -EOPNOTSUPP}}));
}

TEST_F(UblkExportTest, AnAbortFailsEverything) {
  open();
  driver_->arrive(0, Operation::kWrite, 0, 4096);
  driver_->arrive(1, Operation::kRead, 0, 4096);
  const auto driver = driver_;
  EXPECT_TRUE(abort());
  EXPECT_EQ(driver->committed, (Committed{{0, -EIO}, {1, -EIO}}));
  EXPECT_EQ(export_->device(), "");
  driver->arrive(1, Operation::kRead, 0, 4096);
  EXPECT_EQ(driver->committed.back(), (std::pair<uint32_t, int>{1, -EIO}));
  export_->complete(requests_[0].id, true);  // too late, and harmless
  EXPECT_EQ(driver->committed.size(), 3u);
  driver->answer("stop", 0);
  driver->answer("remove", 0);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/ublk-device"));
  EXPECT_EQ(lost_, "");
}

TEST_F(UblkExportTest, LateAnswersDoNotHitTheNextRequest) {
  open();
  driver_->arrive(0, Operation::kRead, 0, 4096);
  EXPECT_TRUE(abort());
  opened_.reset();
  open();
  driver_->arrive(0, Operation::kRead, 4096, 4096);
  export_->complete(requests_[0].id, true);
  EXPECT_TRUE(driver_->committed.empty());
  export_->complete(requests_[1].id, true);
  EXPECT_EQ(driver_->committed, (Committed{{0, 4096}}));
}

TEST_F(UblkExportTest, AFailureWhileOpeningIsTold) {
  export_->open([this](Result<std::string> device) { opened_ = device; });
  driver_->answer("add", 0);
  driver_->answer("parameters", -EINVAL);
  ASSERT_TRUE(opened_);
  ASSERT_FALSE(*opened_);
  EXPECT_NE(opened_->error().message.find("size"), std::string::npos);
  EXPECT_EQ(export_->state(), Export::State::kClosed);
  driver_->answer("stop", 0);
  driver_->answer("remove", 0);
}

TEST_F(UblkExportTest, SomebodyElsesStopIsALoss) {
  open();
  driver_->fetched(5, -ENODEV);
  EXPECT_TRUE(ring_->run_until([&] { return !lost_.empty(); }, 1s));
}

TEST_F(UblkExportTest, ItGrows) {
  open();
  std::optional<Status> grown;
  export_->grow(2 * kSize, [&](Status status) { grown = status; });
  driver_->answer("resize", 0);
  ASSERT_TRUE(grown && *grown);
  driver_->arrive(0, Operation::kRead, kSize, 4096);
  EXPECT_EQ(requests_.size(), 1u);
}

}  // namespace
}  // namespace baton::mirror
