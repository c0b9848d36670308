// Reasons are cut to what a person reads.
#include "src/mirror/link_records.h"

#include "src/base/overloaded.h"

namespace baton::mirror {
namespace {

constexpr size_t kMaxReason = 1024;

std::string_view cut(const std::string& reason) { return std::string_view(reason).substr(0, kMaxReason); }

}  // namespace

void encode_record(const LinkRecord& record, Bytes& out) {
  ByteWriter writer(out);
  std::visit(Overloaded{[&](const Join& join) {
                          writer.put(join.session.high);
                          writer.put(join.session.low);
                          writer.put(join.path);
                          writer.put(static_cast<uint8_t>(join.fresh));
                        },
                        [&](const Joined& joined) {
                          writer.put(static_cast<uint8_t>(joined.result));
                          writer.put(joined.memory);
                          writer.put_string(cut(joined.reason));
                        },
                        [&](const Beat& beat) {
                          writer.put(beat.sent_ns);
                          writer.put(beat.echo_ns);
                          writer.put(beat.held_ns);
                        },
                        [&](const Acknowledge&) {},
                        [&](const Goodbye& goodbye) { writer.put_string(cut(goodbye.reason)); }},
             record);
}

bool decode_record(uint8_t place, std::span<const uint8_t> body, LinkRecord& record) {
  ByteReader reader(body);
  switch (place) {
    case 0: {
      Join join;
      join.session.high = reader.take<uint64_t>();
      join.session.low = reader.take<uint64_t>();
      join.path = reader.take<uint8_t>();
      const auto fresh = reader.take<uint8_t>();
      join.fresh = fresh == 1;
      if (join.path >= kMaxPaths || fresh > 1) return false;
      record = join;
      break;
    }
    case 1: {
      const auto result = reader.take<uint8_t>();
      if (result > static_cast<uint8_t>(JoinResult::kRefused)) return false;
      const auto memory = reader.take<uint64_t>();
      record = Joined{static_cast<JoinResult>(result), memory, reader.take_string()};
      break;
    }
    case 2: {
      Beat beat;
      beat.sent_ns = reader.take<uint64_t>();
      beat.echo_ns = reader.take<uint64_t>();
      beat.held_ns = reader.take<uint64_t>();
      record = beat;
      break;
    }
    case 3:
      record = Acknowledge{};
      break;
    case 4:
      record = Goodbye{reader.take_string()};
      break;
    default:
      return false;
  }
  return !reader.failed() && reader.left() == 0;
}

}  // namespace baton::mirror
