// Memory pressure may write pages back to the very disk that we serve: we must never wait for that.
#include "src/mirror/process_setup.h"

#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "src/os/owned_fd.h"

namespace baton::mirror {

std::vector<std::string> set_up_process() {
  std::vector<std::string> missing;
  setsid();  // refused when batond made the session already
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  rlimit files{4096, 4096};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) missing.push_back("descriptors: " + errno_text());
  if (!(std::ofstream("/proc/self/oom_score_adj") << "-1000" << std::flush)) {
    missing.push_back("protection from the out-of-memory killer");
  }
#ifdef PR_SET_IO_FLUSHER
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) missing.push_back("PR_SET_IO_FLUSHER: " + errno_text());
#endif
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) missing.push_back("locked memory: " + errno_text());
  return missing;
}

}  // namespace baton::mirror
