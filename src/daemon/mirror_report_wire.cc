// MirrorReport <-> protobuf. Stateless, any thread.
#include "src/daemon/mirror_report_wire.h"

#include "src/format/cluster.pb.h"

namespace baton {
namespace {

wire::MirrorRole to_wire(MirrorRole role) {
  return role == MirrorRole::kPrimary ? wire::MIRROR_ROLE_PRIMARY : wire::MIRROR_ROLE_SECONDARY;
}

wire::MirrorLink to_wire(MirrorLink link) {
  switch (link) {
    case MirrorLink::kDown: return wire::MIRROR_LINK_DOWN;
    case MirrorLink::kConnecting: return wire::MIRROR_LINK_CONNECTING;
    case MirrorLink::kCopying: return wire::MIRROR_LINK_COPYING;
    case MirrorLink::kReadmitting: return wire::MIRROR_LINK_READMITTING;
    case MirrorLink::kConnected: return wire::MIRROR_LINK_CONNECTED;
    case MirrorLink::kRefused: return wire::MIRROR_LINK_REFUSED;
  }
  return wire::MIRROR_LINK_UNKNOWN;
}

wire::CopyKind to_wire(CopyKind kind) {
  switch (kind) {
    case CopyKind::kNone: return wire::COPY_KIND_NONE;
    case CopyKind::kFast: return wire::COPY_KIND_FAST;
    case CopyKind::kFull: return wire::COPY_KIND_FULL;
  }
  return wire::COPY_KIND_UNKNOWN;
}

wire::MirrorProtocol to_wire(MirrorProtocol protocol) {
  switch (protocol) {
    case MirrorProtocol::kA: return wire::MIRROR_PROTOCOL_A;
    case MirrorProtocol::kB: return wire::MIRROR_PROTOCOL_B;
    case MirrorProtocol::kC: return wire::MIRROR_PROTOCOL_C;
  }
  return wire::MIRROR_PROTOCOL_UNKNOWN;
}

MirrorProtocol from_wire(wire::MirrorProtocol protocol) {
  switch (protocol) {
    case wire::MIRROR_PROTOCOL_A: return MirrorProtocol::kA;
    case wire::MIRROR_PROTOCOL_B: return MirrorProtocol::kB;
    default: return MirrorProtocol::kC;  // not said: a server of an older version
  }
}

std::optional<MirrorRole> from_wire(wire::MirrorRole role) {
  switch (role) {
    case wire::MIRROR_ROLE_SECONDARY: return MirrorRole::kSecondary;
    case wire::MIRROR_ROLE_PRIMARY: return MirrorRole::kPrimary;
    default: return std::nullopt;
  }
}

std::optional<MirrorLink> from_wire(wire::MirrorLink link) {
  switch (link) {
    case wire::MIRROR_LINK_DOWN: return MirrorLink::kDown;
    case wire::MIRROR_LINK_CONNECTING: return MirrorLink::kConnecting;
    case wire::MIRROR_LINK_COPYING: return MirrorLink::kCopying;
    case wire::MIRROR_LINK_READMITTING: return MirrorLink::kReadmitting;
    case wire::MIRROR_LINK_CONNECTED: return MirrorLink::kConnected;
    case wire::MIRROR_LINK_REFUSED: return MirrorLink::kRefused;
    default: return std::nullopt;
  }
}

std::optional<CopyKind> from_wire(wire::CopyKind kind) {
  switch (kind) {
    case wire::COPY_KIND_NONE: return CopyKind::kNone;
    case wire::COPY_KIND_FAST: return CopyKind::kFast;
    case wire::COPY_KIND_FULL: return CopyKind::kFull;
    default: return std::nullopt;
  }
}

}  // namespace

void put_mirror_report(const std::string& mirror, const MirrorReport& report, wire::MirrorReport& out) {
  out.set_mirror(mirror);
  out.set_role(to_wire(report.role));
  out.set_link(to_wire(report.link));
  out.set_incarnation(report.incarnation.value);
  out.set_permit(report.permit.value);
  out.set_generation_counter(report.generation.counter);
  out.set_generation_random(report.generation.random);
  out.set_consistent(report.consistent);
  out.set_exported(report.exported);
  out.set_size_bytes(report.size_bytes);
  out.set_dirty_bytes(report.dirty_bytes);
  out.set_copy(to_wire(report.copy));
  out.set_copy_reason(report.copy_reason);
  out.set_copy_total_bytes(report.copy_total_bytes);
  out.set_copy_done_bytes(report.copy_done_bytes);
  out.set_copy_sent_bytes(report.copy_sent_bytes);
  out.set_copy_read_bytes(report.copy_read_bytes);
  out.set_waiting(report.waiting);
  out.set_problem(report.problem);
  out.set_protocol(to_wire(report.protocol));
  out.set_copy_zero_bytes(report.copy_zero_bytes);
  out.set_copy_bytes_per_second(report.copy_bytes_per_second);
  out.set_rate_limit(report.rate_limit);
  out.set_detached(report.detached);
  out.set_broken(report.broken);
  out.set_backup(report.backup);
  out.set_snapshot(report.snapshot);
  out.set_lag_bytes(report.lag_bytes);
  out.set_read_errors(report.read_errors);
  out.set_slow(report.slow);
}

std::optional<MirrorReport> take_mirror_report(const wire::MirrorReport& from) {
  const auto role = from_wire(from.role());
  const auto link = from_wire(from.link());
  const auto copy = from_wire(from.copy());
  if (!role || !link || !copy) return std::nullopt;
  MirrorReport report;
  report.role = *role;
  report.link = *link;
  report.incarnation = Incarnation(from.incarnation());
  report.permit = Permit(from.permit());
  report.generation = {from.generation_counter(), from.generation_random()};
  report.consistent = from.consistent();
  report.exported = from.exported();
  report.size_bytes = from.size_bytes();
  report.dirty_bytes = from.dirty_bytes();
  report.copy = *copy;
  report.copy_reason = from.copy_reason();
  report.copy_total_bytes = from.copy_total_bytes();
  report.copy_done_bytes = from.copy_done_bytes();
  report.copy_sent_bytes = from.copy_sent_bytes();
  report.copy_read_bytes = from.copy_read_bytes();
  report.waiting = from.waiting();
  report.problem = from.problem();
  report.protocol = from_wire(from.protocol());
  report.copy_zero_bytes = from.copy_zero_bytes();
  report.copy_bytes_per_second = from.copy_bytes_per_second();
  report.rate_limit = from.rate_limit();
  report.detached = from.detached();
  report.broken = from.broken();
  report.backup = from.backup();
  report.snapshot = from.snapshot();
  report.lag_bytes = from.lag_bytes();
  report.read_errors = from.read_errors();
  report.slow = from.slow();
  return report;
}

}  // namespace baton
