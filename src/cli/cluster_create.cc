// `baton cluster create`: puts this server's identity, the cluster's configuration and its key in place, and
// marks its database to be founded by batond's first start (the file "founding", docs/protocol.md, "A lost
// database").
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include "src/cli/cluster_key.h"
#include "src/cli/commands.h"
#include "src/cli/durable_file.h"
#include "src/format/store_check.h"
#include "src/model/configuration_toml.h"

namespace baton::cli {
namespace {

/// The text of a file; nothing if there is none.
std::optional<std::string> present_text(const std::string& path) {
  auto text = read_whole_file(path);
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

std::string trimmed(std::string text) {
  while (!text.empty() && isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

/// The given key, the one in place, or a new one.
Result<std::string> choose_key(const CreateOptions& options, bool& made) {
  std::string path =
      options.key_file.empty() ? options.configuration_directory + "/cluster.key" : options.key_file;
  std::error_code ignored;
  if (options.key_file.empty() && !std::filesystem::exists(path, ignored)) {
    made = true;
    return make_cluster_key();
  }
  return read_cluster_key(path);
}

/// Reads the configuration and looks at this server's stores. All problems bear the file's name and their
/// places.
Result<Configuration> read_for_server(const std::string& text, const std::string& file,
                                      const CreateOptions& options) {
  CheckedConfiguration checked = read_configuration(text);
  if (!checked.ok()) return pass(parse_configuration(text, file));
  const Configuration& configuration = checked.configuration;
  const ServerConfiguration* self = configuration.server(options.server);
  if (!self) {
    std::string known;
    for (const ServerConfiguration& server : configuration.servers)
      known += (known.empty() ? "" : ", ") + server.name;
    return fail_as(ErrorCode::kInvalid, "{} has no server \"{}\": give --as one of {}", file, options.server,
                   known);
  }
  StoreCheckOptions stores;
  stores.self = self->id;
  stores.state_directory = options.state_directory;
  stores.file_name = file;
  stores.make_directories = true;
  std::string problems;
  for (const std::string& problem : check_stores(checked, stores)) problems += (problems.empty() ? "" : "\n") + problem;
  if (!problems.empty()) return fail_as(ErrorCode::kInvalid, "{}", problems);
  return configuration;
}

Status make_directory(const std::string& path, mode_t mode) {
  std::error_code error;
  bool made = std::filesystem::create_directories(path, error);
  if (error) return fail("cannot make the directory {}: {}", path, error.message());
  if (made) chmod(path.c_str(), mode);
  return {};
}

/// One file of the identity, written only if it differs.
struct IdentityFile {
  std::string path;
  std::string text;
  mode_t mode;
};

Status put_in_place(const std::vector<IdentityFile>& files, bool founded, std::vector<std::string>& written) {
  for (const IdentityFile& file : files) {
    std::optional<std::string> present = present_text(file.path);
    if (present == file.text) continue;
    if (founded && (!present || trimmed(*present) != trimmed(file.text))) {
      return fail_as(
          ErrorCode::kConflict,
          "this server belongs to a cluster already, and {} differs: change the configuration of a running "
          "cluster with `baton apply FILE`; to make it one of another cluster, remove its old one's files "
          "from /etc/baton and /var/lib/baton first",
          file.path);
    }
    if (auto done = write_durably(file.path, file.text, file.mode); !done) return done;
    written.push_back(file.path);
  }
  return {};
}

void report(const Context& context, const Configuration& configuration, const std::string& server,
            const std::vector<std::string>& written, const std::string& new_key) {
  const std::string& cluster = configuration.cluster_name;
  if (context.json) {
    json paths = json::array();
    for (const std::string& path : written) paths.push_back(path);
    print_json({{"cluster", cluster}, {"server", server}, {"written", paths}, {"new_key", !new_key.empty()},
                {"warning", warning_of(configuration.np)}});
    return;
  }
  for (const std::string& path : written) print("wrote " + path + "\n");
  print(fmt::format("{} is a server of cluster {}{}\n", server, cluster,
                    written.empty() ? " already" : "; start batond"));
  if (!new_key.empty())
    print(fmt::format("copy {} to the other servers, and give it there with --key\n", new_key));
}

}  // namespace

Status create_cluster(const Context& context, const CreateOptions& options) {
  const std::string& etc = options.configuration_directory;
  std::string file = options.file.empty() ? etc + "/cluster.toml" : options.file;
  auto text = read_whole_file(file);
  if (!text) return pass(text);
  if (auto made = make_directory(options.state_directory, 0755); !made) return made;
  auto configuration = read_for_server(*text, file, options);
  if (!configuration) return pass(configuration);
  const PreflightOptions preflight{file, options.server, etc, options.state_directory};
  if (options.preflight)
    if (auto passed = demand_preflight(context, preflight); !passed) return passed;
  bool key_is_new = false;
  auto key = choose_key(options, key_is_new);
  if (!key) return pass(key);
  if (auto made = make_directory(etc, 0755); !made) return made;
  std::error_code ignored;
  // SAFETY: docs/protocol.md, "A lost database". A server that was made one of the cluster and has no database
  // now has lost it: founded anew it would count although it has forgotten what it promised.
  bool founded = std::filesystem::exists(options.state_directory + "/database.sqlite", ignored) ||
                 (std::filesystem::exists(etc + "/server", ignored) &&
                  !std::filesystem::exists(options.state_directory + "/founding", ignored));
  std::string name = configuration->server(options.server)->name;
  // The server's name comes last: whoever starts batond when the files are there finds all of them.
  std::vector<IdentityFile> files = {{etc + "/cluster.key", *key + "\n", 0600},
                                     {etc + "/cluster.toml", *text, 0644}};
  if (!founded) files.push_back({options.state_directory + "/founding", name + "\n", 0644});
  files.push_back({etc + "/server", name + "\n", 0644});
  std::vector<std::string> written;
  if (auto done = put_in_place(files, founded, written); !done) return done;
  report(context, *configuration, name, written, key_is_new ? etc + "/cluster.key" : "");
  print_warning_of(context, configuration->np);
  return {};
}

}  // namespace baton::cli
