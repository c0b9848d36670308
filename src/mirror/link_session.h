// LinkSession: what makes one conversation of several connections: numbers the messages, keeps those that the peer has
// not acknowledged, and lets each arrive once. No I/O. docs/protocol.md, "Mirror connect". The loop's thread.
#pragma once

#include <memory>
#include <vector>

#include "src/mirror/link_compression.h"
#include "src/mirror/link_frames.h"

namespace baton::mirror {

class LinkSession {
 public:
  /// A message as it goes out, as often as needed.
  struct Frame {
    Bytes head;           // header and body
    BufferId buffer = 0;  // data after it; 0: none
    uint32_t data_bytes = 0;
  };
  enum class Arrival { kNew, kRepeated, kImpossible };

  /// `compress`: data is sent compressed where that helps. `initiator`: this side connects.
  LinkSession(BufferPool& pool, SessionId id, bool initiator, bool compress);
  ~LinkSession();
  LinkSession(const LinkSession&) = delete;
  LinkSession& operator=(const LinkSession&) = delete;

  /// Gives a message its number and keeps it (and its buffer) until it is acknowledged. The frame stays until then.
  const Frame& add(const Message& message, BufferId buffer);
  /// False: the peer acknowledges what was never sent.
  bool acknowledged(uint64_t sequence);
  /// In order, to be sent again on another path.
  template <class Use>
  void for_each_unacknowledged(Use&& use) const {
    for (uint64_t sequence = acknowledged_ + 1; sequence <= sent_; ++sequence) use(frame(sequence));
  }

  /// Looks at an arriving message. kNew: it is the next one and counts as received now.
  Arrival arrived(const FrameHeader& header);
  uint64_t received() const { return received_; }
  /// Whether so much has come since the last word to the peer that it should hear of it.
  bool acknowledgement_due() const;
  void acknowledgement_sent();

  /// REQUIRES: the accepting side. Names this object.
  uint64_t memory() const { return memory_; }
  /// REQUIRES: the connecting side. False: the peer has forgotten what it knew of the session.
  bool same_memory(uint64_t peers);

  SessionId id() const { return id_; }
  bool initiator() const { return initiator_; }
  uint64_t unacknowledged() const { return sent_ - acknowledged_; }
  uint64_t unacknowledged_bytes() const { return unacknowledged_bytes_; }
  /// The peer takes nothing any more, and memory is finite.
  bool overflown() const;

 private:
  const Frame& frame(uint64_t sequence) const { return frames_[sequence & (frames_.size() - 1)]; }
  Frame& frame(uint64_t sequence) { return frames_[sequence & (frames_.size() - 1)]; }
  void resize(size_t slots);
  void drop(Frame& frame);

  BufferPool& pool_;
  const SessionId id_;
  const bool initiator_;
  uint64_t memory_ = 0;  // the accepting side's; 0: not known yet
  std::unique_ptr<LinkCompressor> compressor_;
  std::vector<Frame> frames_;  // a ring; its size is a power of two; slots keep their memory
  uint64_t sent_ = 0;
  uint64_t acknowledged_ = 0;  // of the sent ones, by the peer
  uint64_t unacknowledged_bytes_ = 0;
  uint64_t received_ = 0;
  uint64_t told_ = 0;          // of the received ones
  uint64_t untold_bytes_ = 0;
};

}  // namespace baton::mirror
