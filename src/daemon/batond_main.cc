// batond: Baton's control daemon, one per server and witness. Options --etc, --state, --run and --log for tests; without
// them it uses the installed product's directories.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "src/daemon/daemon.h"

namespace {

/// Two batonds on one server would be two opinions of it.
baton::Result<int> lock_instance(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  const std::string path = directory + "/batond.lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return baton::fail("cannot open {}: {}", path, std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return baton::fail("batond runs already on this server ({} is locked)", path);
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"batond: Baton's control daemon. It is configured by `baton cluster create`."};
  baton::DaemonPaths paths;
  app.add_option("--etc", paths.configuration_directory, "where cluster.toml, cluster.key and server are");
  app.add_option("--state", paths.state_directory, "where databases and metadata are kept");
  app.add_option("--run", paths.run_directory, "sockets and the lease page; must not survive a reboot");
  app.add_option("--log", paths.log_directory, "log files of corosync, mirror daemons and services");
  CLI11_PARSE(app, argc, argv);
  paths.program_directory = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%f %^%l%$ %v");
  spdlog::flush_on(spdlog::level::info);

  const auto lock = lock_instance(paths.run_directory);
  if (!lock) {
    spdlog::error("{}", lock.error().message);
    return 1;
  }
  std::signal(SIGPIPE, SIG_IGN);
  baton::EventLoop loop;
  auto ended = loop.on_signal(SIGTERM, [&] { loop.stop(); });
  auto interrupted = loop.on_signal(SIGINT, [&] { loop.stop(); });
  int status = 0;
  bool again = false;
  {
    baton::Daemon daemon(loop, paths);
    if (const auto started = daemon.start(); !started) {
      spdlog::error("{}", started.error().message);
      status = 1;
    } else {
      loop.run();
      again = daemon.wants_start_anew();
      spdlog::info("batond ends; mirrors and services go on");
    }
  }
  if (again) {
    ::execv("/proc/self/exe", argv);
    spdlog::error("batond cannot start itself anew: {}", std::strerror(errno));
    return 1;
  }
  return status;
}
