// One mirror with everything that is known of it: generations, last copies, paths, export, figures.
#include <fmt/ranges.h>

#include "src/cli/status_view.h"

namespace baton::cli {
namespace {

uint64_t bytes_of(const json& object, const char* key) { return static_cast<uint64_t>(number_of(object, key)); }

uint64_t random_of(const json& generation) {
  return generation.contains("random") && generation["random"].is_number_unsigned()
             ? generation["random"].get<uint64_t>()
             : 0;
}

std::string format_last_copy(const json& copy) {
  std::string kind = text_of(copy, "copy");
  if (kind == "none" || kind.empty()) return "";
  std::string zeroes;
  if (uint64_t zero = bytes_of(copy, "copy_zero_bytes"); zero > 0) zeroes = fmt::format(", {} zeroes", short_size(zero));
  return wrap_text(
      fmt::format("{} {} copy: {} of {}, {} sent, {} read{}{}", is_copying(copy) ? "running" : "last", kind,
                  short_size(bytes_of(copy, "copy_done_bytes")), short_size(bytes_of(copy, "copy_total_bytes")),
                  short_size(bytes_of(copy, "copy_sent_bytes")), short_size(bytes_of(copy, "copy_read_bytes")), zeroes,
                  text_of(copy, "copy_reason").empty() ? "" : "; because " + text_of(copy, "copy_reason")),
      4);
}

std::string format_path(const json& path, const Painter& painter) {
  const bool up = flag_of(path, "up");
  std::string state = up ? flag_of(path, "active") ? "up, carries the data" : "up, in reserve" : "down";
  std::string line = fmt::format("    path to {}: {}", text_of(path, "address"),
                                 painter.paint(state, up ? Colour::kGreen : Colour::kYellow));
  if (up) line += fmt::format(", {}, {:.2f} ms there and back", text_of(path, "encryption"), real_of(path, "round_trip_ms"));
  std::string problem = text_of(path, "problem");
  return line + "\n" + (problem.empty() ? "" : wrap_text(problem, 6));
}

std::string format_export(const json& details) {
  std::string text;
  std::string kind = text_of(details, "export_kind");
  std::string device = text_of(details, "device");
  if (!device.empty()) {
    std::string reason = text_of(details, "export_reason");
    text += wrap_text(fmt::format("exported as {}{}{}", device, kind.empty() ? "" : " by " + kind,
                                  reason.empty() ? "" : ": " + reason), 4);
  }
  std::string socket = text_of(details, "nbd_socket");
  if (!socket.empty()) text += wrap_text("NBD: nbd+unix:///?socket=" + socket, 4);
  return text;
}

std::string format_flags(const json& copy) {
  std::string text;
  if (flag_of(copy, "snapshot"))
    text += wrap_text("the consistent state from before the copy is kept: it could be forced", 4);
  if (uint64_t errors = bytes_of(copy, "read_errors"); errors > 0)
    text += wrap_text(fmt::format("{} blocks could not be read from this disk and came from the other copy", errors), 4);
  return text;
}

std::string format_copy(const json& copy, const Painter& painter) {
  const json& generation = object_of(copy, "generation");
  const json& details = object_of(copy, "details");
  std::string text =
      fmt::format("  {}: incarnation {}, permit {}, generation {}-{:016x}{}\n", text_of(copy, "server"),
                  number_of(copy, "incarnation"), number_of(copy, "permit"), number_of(generation, "counter"),
                  random_of(generation), flag_of(copy, "exported") ? ", exported" : "");
  text += format_last_copy(copy) + format_flags(copy);
  for (const json& path : list_of(details, "paths")) text += format_path(path, painter);
  text += format_export(details);
  if (flag_of(copy, "exported")) text += format_metrics_line(copy);
  std::string pending = text_of(details, "pending");
  if (!pending.empty()) text += painter.paint(wrap_text(pending, 4), Colour::kYellow);
  return text;
}

}  // namespace

std::string format_metrics_line(const json& copy) {
  const json& metrics = object_of(object_of(copy, "details"), "metrics");
  if (metrics.empty()) return "";
  return wrap_text(
      fmt::format("reads {:.0f}/s {}/s, writes {:.0f}/s {}/s; a write takes {:.2f} ms: disk {:.2f}, peer {:.2f}",
                  real_of(metrics, "read_iops"), short_size(bytes_of(metrics, "read_bytes_per_second")),
                  real_of(metrics, "write_iops"), short_size(bytes_of(metrics, "write_bytes_per_second")),
                  real_of(metrics, "total_us") / 1000, real_of(metrics, "local_us") / 1000,
                  real_of(metrics, "peer_us") / 1000),
      4);
}

std::string format_mirror_details(const json& mirror, const Painter& painter) {
  json status{{"mirrors", json::array({mirror})}};
  std::string text = format_mirrors(status, painter);
  text += fmt::format("  permit {}, held by {}", number_of(mirror, "permit"),
                      text_of(mirror, "holder").empty() ? "nobody" : text_of(mirror, "holder"));
  if (!text_of(mirror, "protocol").empty()) text += "; protocol " + text_of(mirror, "protocol");
  if (uint64_t rate = bytes_of(mirror, "rate"); rate > 0) text += fmt::format("; copies at {}/s", short_size(rate));
  text += "\n";
  for (const json& copy : list_of(mirror, "copies"))
    if (flag_of(copy, "reported")) text += format_copy(copy, painter);
  return text;
}

}  // namespace baton::cli
