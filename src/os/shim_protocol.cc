// See shim_protocol.h.
#include "src/os/shim_protocol.h"

#include <cstring>

namespace baton {

using nlohmann::json;

namespace {
constexpr const char* kStates[] = {"running", "stopping", "ended"};
}

json to_json_value(const ServiceSpec& spec) {
  return {{"name", spec.name},
          {"argv", spec.argv},
          {"environment", spec.environment},
          {"user", spec.user},
          {"working_directory", spec.working_directory},
          {"control_group", spec.control_group},
          {"log_file", spec.log_file},
          {"stop_signal", spec.stop_signal},
          {"stop_timeout_ms", to_ms(spec.stop_timeout)},
          {"status_file", spec.status_file}};
}

Result<ServiceSpec> service_spec_from(const std::string& json_text) {
  try {
    const json value = json::parse(json_text);
    ServiceSpec spec;
    value.at("name").get_to(spec.name);
    value.at("argv").get_to(spec.argv);
    value.at("environment").get_to(spec.environment);
    value.at("user").get_to(spec.user);
    value.at("working_directory").get_to(spec.working_directory);
    value.at("control_group").get_to(spec.control_group);
    value.at("log_file").get_to(spec.log_file);
    value.at("stop_signal").get_to(spec.stop_signal);
    spec.stop_timeout = milliseconds(value.at("stop_timeout_ms").get<int64_t>());
    value.at("status_file").get_to(spec.status_file);
    return spec;
  } catch (const json::exception& error) {
    return fail_as(ErrorCode::kInvalid, "the service's specification is damaged: {}", error.what());
  }
}

std::string to_line(const ShimReport& report) {
  const json value = {{"state", kStates[static_cast<int>(report.state)]},
                      {"main_process", report.main_process},
                      {"group_empty", report.group_empty},
                      {"exited", report.exited},
                      {"status", report.status},
                      {"signal", report.signal},
                      {"at_ns", report.at_ns},
                      {"start_error", report.start_error},
                      {"killed_after_timeout", report.killed_after_timeout}};
  return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ShimReport> shim_report_from(const std::string& line) {
  try {
    const json value = json::parse(line);
    ShimReport report;
    const std::string state = value.at("state").get<std::string>();
    report.state = state == kStates[0]   ? ShimReport::State::kRunning
                   : state == kStates[1] ? ShimReport::State::kStopping
                                         : ShimReport::State::kEnded;
    value.at("main_process").get_to(report.main_process);
    value.at("group_empty").get_to(report.group_empty);
    value.at("exited").get_to(report.exited);
    value.at("status").get_to(report.status);
    value.at("signal").get_to(report.signal);
    value.at("at_ns").get_to(report.at_ns);
    value.at("start_error").get_to(report.start_error);
    value.at("killed_after_timeout").get_to(report.killed_after_timeout);
    return report;
  } catch (const json::exception& error) {
    return fail_as(ErrorCode::kInvalid, "a shim's report is damaged: {}", error.what());
  }
}

std::string describe(const ShimReport& report) {
  if (report.state != ShimReport::State::kEnded) return kStates[static_cast<int>(report.state)];
  if (!report.start_error.empty()) return "could not be started: " + report.start_error;
  if (report.exited) return fmt::format("ended with status {}", report.status);
  return fmt::format("was killed by signal {} ({})", report.signal, ::strsignal(report.signal));
}

std::vector<std::string> take_lines(std::string& buffer) {
  std::vector<std::string> lines;
  for (size_t end; (end = buffer.find('\n')) != std::string::npos; buffer.erase(0, end + 1)) {
    lines.push_back(buffer.substr(0, end));
  }
  return lines;
}

}  // namespace baton
