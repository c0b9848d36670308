// baton-lab-disk: a server's volatile disk, a FUSE file system over a plain directory. What a program writes is
// kept in memory until the file is synced; the command "lose" on the control socket is the power cut. Lives
// outside the server; libfuse's threads and one for the control socket.
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "src/lab/lab_process.h"
#include "src/lab/volatile_control.h"
#include "src/lab/volatile_filesystem.h"

namespace baton::lab {
namespace {

constexpr unsigned kThreads = 16;

int say(const std::string& line) {
  auto text = line + "\n";
  (void)!write(kReadyDescriptor, text.data(), text.size());
  return line == "ready" ? 0 : 1;
}

int serve(const std::string& backing, const std::string& mount, const std::string& control) {
  rlimit files{1 << 20, 1 << 20};
  setrlimit(RLIMIT_NOFILE, &files);
  umask(0);
  static VolatileNodes nodes;  // for as long as the process lives: the control thread never ends
  if (int error = nodes.open_root(backing); error != 0)
    return say("cannot open " + backing + ": " + strerror(error));
  const char* words[] = {"baton-lab-disk", "-o", "allow_other,default_permissions,fsname=baton-lab-disk"};
  fuse_args arguments = FUSE_ARGS_INIT(3, const_cast<char**>(words));
  auto* session = fuse_session_new(&arguments, &volatile_operations(), sizeof(fuse_lowlevel_ops), &nodes);
  if (session == nullptr) return say("cannot make a FUSE session");
  if (fuse_session_mount(session, mount.c_str()) != 0) return say("cannot mount on " + mount);
  int listener = listen_control(control);
  if (listener < 0) return say("cannot listen at " + control + ": " + strerror(errno));
  std::thread(serve_control, listener, session, std::ref(nodes)).detach();
  // If `up` dies before it lets this disk go, so does the disk.
  std::thread([] {
    char letter;
    if (read(kGoDescriptor, &letter, 1) != 1) _exit(1);
  }).detach();
  auto* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, kThreads);
  fuse_loop_cfg_set_idle_threads(config, kThreads);
  say("ready");
  close(kReadyDescriptor);
  int result = fuse_session_loop_mt(session, config);
  fuse_session_unmount(session);
  _exit(result == 0 ? 0 : 1);
}

}  // namespace
}  // namespace baton::lab

int main(int count, char** arguments) {
  std::map<std::string, std::string> given;
  for (int i = 1; i + 1 < count; i += 2) given[arguments[i]] = arguments[i + 1];
  if (!given.count("--backing") || !given.count("--mount") || !given.count("--control")) {
    fprintf(stderr, "baton-lab-disk is started by `baton lab up --volatile-disks`; use that.\n");
    return 2;
  }
  return baton::lab::serve(given["--backing"], given["--mount"], given["--control"]);
}
