// baton-mirrord: serves one copy of one mirror disk. Started by batond, outlives it; logs to standard error.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "src/mirror/mirror_daemon.h"
#include "src/mirror/process_setup.h"

namespace {

baton::Result<baton::mirror_control::DaemonSettings> read_settings(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  if (!file || !(content << file.rdbuf())) {
    return baton::fail("cannot read the settings {}: {}", path, std::strerror(errno));
  }
  auto settings = baton::mirror_control::decode_daemon_settings(content.str());
  if (!settings) return baton::fail("{}: {}", path, settings.error().message);
  return settings;
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 3 || std::string(arguments[1]) != "--settings") {
    fmt::print(stderr, "usage: baton-mirrord --settings FILE\nServes one copy of a mirror disk; batond starts it.\n");
    return 2;
  }
  auto logger = spdlog::stderr_logger_st("mirrord");
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %L %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);

  auto settings = read_settings(arguments[2]);
  if (!settings) {
    spdlog::error("{}", settings.error().message);
    return 1;
  }
  for (const std::string& missing : baton::mirror::set_up_process({settings->store, settings->metadata})) spdlog::warn("could not be had: {}", missing);
  auto daemon = baton::mirror::MirrorDaemon::start(*settings);
  if (!daemon) {
    spdlog::error("mirror {} is not served: {}", settings->key, daemon.error().message);
    return 1;
  }
  spdlog::info("serving the copy of mirror {} on server {}", settings->key, settings->self);
  (*daemon)->run();
  // Without taking everything apart: what is durable is durable, and the kernel closes the rest.
  std::_Exit(0);
}
