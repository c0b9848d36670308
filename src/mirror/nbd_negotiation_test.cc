// The handshake and the checks of requests, byte by byte.
#include "src/mirror/nbd_negotiation.h"

#include <gtest/gtest.h>

namespace baton::mirror {
namespace {

NbdExport target() { return {"db.disk", "a test", 1 << 20, kNbdHasFlags | kNbdSendFlush}; }

void put_option(Bytes& out, uint32_t option, const Bytes& data) {
  nbd_put<uint64_t>(out, kNbdOptionMagic);
  nbd_put<uint32_t>(out, option);
  nbd_put<uint32_t>(out, static_cast<uint32_t>(data.size()));
  out.insert(out.end(), data.begin(), data.end());
}

Bytes information(const std::string& name, std::vector<uint16_t> wanted) {
  Bytes data;
  nbd_put<uint32_t>(data, static_cast<uint32_t>(name.size()));
  data.insert(data.end(), name.begin(), name.end());
  nbd_put<uint16_t>(data, static_cast<uint16_t>(wanted.size()));
  for (uint16_t type : wanted) nbd_put<uint16_t>(data, type);
  return data;
}

/// Types of the option replies in the output.
std::vector<uint32_t> replies(const Bytes& output) {
  std::vector<uint32_t> types;
  for (size_t at = 0; at + 20 <= output.size();) {
    EXPECT_EQ(nbd_load<uint64_t>(&output[at]), kNbdOptionReplyMagic);
    types.push_back(nbd_load<uint32_t>(&output[at + 12]));
    at += 20 + nbd_load<uint32_t>(&output[at + 16]);
  }
  return types;
}

class NbdNegotiationTest : public ::testing::Test {
 protected:
  NbdNegotiationTest() { nbd_put<uint32_t>(input_, kNbdFixedNewstyle | kNbdNoZeroes); }

  /// Feeds all that has been put, `step` bytes at a time.
  NbdNegotiation::Outcome run(size_t step = 1 << 20) {
    size_t from = 0;
    for (size_t end = std::min(step, input_.size());; end = std::min(end + step, input_.size())) {
      size_t used = 0;
      const auto outcome = negotiation_.consume({input_.data() + from, end - from}, &used, output_);
      from += used;
      if (outcome != NbdNegotiation::Outcome::kMore || end == input_.size()) return outcome;
    }
  }

  const NbdExport target_ = target();
  NbdNegotiation negotiation_{target_};
  Bytes input_;
  Bytes output_;
};

TEST_F(NbdNegotiationTest, GoWithStructuredReplies) {
  put_option(input_, kNbdOptStructuredReply, {});
  put_option(input_, kNbdOptGo, information("db.disk", {kNbdInfoBlockSize, kNbdInfoName}));
  EXPECT_EQ(run(), NbdNegotiation::Outcome::kTransmit);
  EXPECT_TRUE(negotiation_.structured_replies());
  EXPECT_EQ(replies(output_),
            (std::vector<uint32_t>{kNbdRepAck, kNbdRepInfo, kNbdRepInfo, kNbdRepInfo, kNbdRepAck}));
}

TEST_F(NbdNegotiationTest, BytesMayComeOneByOne) {
  put_option(input_, kNbdOptList, {});
  put_option(input_, kNbdOptGo, information("", {}));
  EXPECT_EQ(run(1), NbdNegotiation::Outcome::kTransmit);
  EXPECT_EQ(replies(output_),
            (std::vector<uint32_t>{kNbdRepServer, kNbdRepAck, kNbdRepInfo, kNbdRepInfo, kNbdRepAck}));
}

TEST_F(NbdNegotiationTest, ExportNameIsAnsweredWithoutZeroes) {
  put_option(input_, kNbdOptExportName, {'d', 'b', '.', 'd', 'i', 's', 'k'});
  EXPECT_EQ(run(), NbdNegotiation::Outcome::kTransmit);
  ASSERT_EQ(output_.size(), 10u);
  EXPECT_EQ(nbd_load<uint64_t>(output_.data()), 1u << 20);
}

TEST_F(NbdNegotiationTest, WhatIsNotOfferedIsRefusedAndMayBeFollowed) {
  put_option(input_, 5, {});                                       // STARTTLS
  put_option(input_, 9999, {1, 2, 3});                             // nobody's
  put_option(input_, kNbdOptInfo, information("other.disk", {}));  // unknown name
  put_option(input_, kNbdOptGo, {0, 0, 0, 99, 0, 0});              // contradicts itself
  put_option(input_, kNbdOptList, {1});                            // takes no data
  put_option(input_, 10, Bytes(100'000));                          // too long
  put_option(input_, kNbdOptAbort, {});
  EXPECT_EQ(run(7), NbdNegotiation::Outcome::kEnd);
  EXPECT_EQ(replies(output_),
            (std::vector<uint32_t>{kNbdRepErrUnsupported, kNbdRepErrUnsupported, kNbdRepErrUnknown,
                                   kNbdRepErrInvalid, kNbdRepErrInvalid, kNbdRepErrTooBig, kNbdRepAck}));
}

TEST_F(NbdNegotiationTest, StrangersAreCutOff) {
  const std::string request = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
  input_.insert(input_.end(), request.begin(), request.end());
  EXPECT_EQ(run(), NbdNegotiation::Outcome::kEnd);
  EXPECT_TRUE(output_.empty());
  EXPECT_FALSE(negotiation_.problem().empty());
}

TEST(NbdRequestTest, ChecksCannotOverflow) {
  NbdExport disk = target();
  disk.size_bytes = 1 << 20;
  const auto error = [&](NbdRequest request) {
    return check_nbd_request(request, disk).value_or(NbdRefusal{}).error;
  };
  EXPECT_EQ(error({0, kNbdRead, 1, 0, 4096}), kNbdOk);
  EXPECT_EQ(error({0, kNbdRead, 1, 0, 1 << 20}), kNbdOk);
  EXPECT_EQ(error({0, kNbdRead, 1, 4096, 1 << 20}), kNbdEinval);
  EXPECT_EQ(error({0, kNbdWrite, 1, UINT64_MAX - 4095, 8192}), kNbdEnospc);
  EXPECT_EQ(error({0, kNbdWrite, 1, 1 << 20, 4096}), kNbdEnospc);
  EXPECT_EQ(error({0, kNbdRead, 1, 512, 4096}), kNbdEinval);
  EXPECT_EQ(error({0, kNbdRead, 1, 0, 512}), kNbdEinval);
  EXPECT_EQ(error({0, kNbdRead, 1, 0, 0xfffff000}), kNbdEinval);
  EXPECT_EQ(error({0, 5, 1, 0, 4096}), kNbdEinval);
  EXPECT_EQ(error({1 << 9, kNbdRead, 1, 0, 4096}), kNbdEinval);
  EXPECT_EQ(error({kNbdFastZero | kNbdNoHole | kNbdFua, kNbdWriteZeroes, 1, 0, 4096}), kNbdOk);
  disk.flags |= kNbdReadOnly;
  EXPECT_EQ(error({0, kNbdTrim, 1, 0, 4096}), kNbdEperm);
}

}  // namespace
}  // namespace baton::mirror
