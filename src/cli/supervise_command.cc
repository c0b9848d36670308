// `baton supervise` and `baton unsupervise`: for start and stop scripts, which have programs started and looked after by Baton.
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

/// What the script's environment says, where nothing else was said.
std::string or_environment(const std::string& given, const char* variable) {
  if (!given.empty()) return given;
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

/// Else a misspelt one would be found only when it has used up its restarts.
Status check_program(const std::string& path) {
  struct stat status {};
  if (path.empty() || path.front() != '/') return {};  // batond refuses it
  int error = ::access(path.c_str(), X_OK) == 0 && ::stat(path.c_str(), &status) == 0 ? 0 : errno;
  if (error == 0 && !S_ISREG(status.st_mode)) error = EISDIR;
  if (error == 0) return {};
  return fail_as(ErrorCode::kInvalid, "{} cannot be run here: {}. Name an executable program, by its whole path", path, std::strerror(error));
}

}  // namespace

Status supervise_program(const Context& context, const SuperviseOptions& options) {
  if (!options.command.empty())
    if (const auto runs = check_program(options.command.front()); !runs) return runs;
  json wish = {{"command", options.command}, {"group", or_environment(options.group, "BATON_GROUP")},
               {"script", or_environment(options.script, "BATON_RESOURCE")}, {"user", options.user}, {"directory", options.directory},
               {"restarts", options.restarts}, {"window_ms", options.window.count()}, {"unwatched", options.unwatched},
               {"with_script", options.with_script}, {"on_failure", options.on_failure}};
  const auto done = context.api.post("/v1/programs/" + ApiClient::escape(options.id), wish.dump());
  if (!done) return pass(done);
  if (context.json) {
    print_json(*done);
  } else {
    print(fmt::format("program {} runs as process {}, for script {} of group {}\n", options.id, number_of(*done, "process"),
                      text_of(*done, "script"), text_of(*done, "group")));
  }
  return {};
}

Status unsupervise_program(const Context& context, const SuperviseOptions& options) {
  const json wish = {{"group", or_environment(options.group, "BATON_GROUP")}};
  const auto done = context.api.post(fmt::format("/v1/programs/{}/end", ApiClient::escape(options.id)), wish.dump());
  if (!done) return pass(done);
  if (context.json) {
    print_json(*done);
  } else {
    print(fmt::format("program {} has ended\n", options.id));
  }
  return {};
}

}  // namespace baton::cli
