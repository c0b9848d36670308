// `baton support`: one archive for whoever shall look at a problem, of this server, without secrets. docs/operations.md.
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "src/cli/commands.h"
#include "src/cli/links_view.h"
#include "src/cli/status_view.h"
#include "src/cli/support_archive.h"

namespace baton::cli {
namespace {

/// What a file says is secret as a whole, with and without its line's end.
void learn_secret_file(SupportArchive& archive, const std::string& path) {
  auto text = read_whole_file(path);
  if (!text) return;
  while (!text->empty() && isspace(static_cast<unsigned char>(text->back()))) text->pop_back();
  archive.secrets().add_secret(*text);
}

/// Before anything is added: what is secret anywhere must be known.
void learn_secrets(SupportArchive& archive, const SupportOptions& options) {
  learn_secret_file(archive, options.configuration_directory + "/cluster.key");
  learn_secret_file(archive, options.run_directory + "/corosync/authkey");
  std::error_code ignored;
  for (const auto& directory : {options.configuration_directory, options.state_directory, options.run_directory}) {
    std::filesystem::recursive_directory_iterator at(directory, ignored), end;
    for (; !ignored && at != end; at.increment(ignored)) {
      const std::string name = at->path().filename().string();
      if (at->is_regular_file(ignored) && is_secret_name(name)) learn_secret_file(archive, at->path().string());
    }
  }
}

void add_configuration(const Context& context, SupportArchive& archive, const SupportOptions& options) {
  const std::string founding = options.configuration_directory + "/cluster.toml";
  auto text = read_whole_file(founding);
  const std::string cleaned = text ? archive.secrets().clean_configuration(*text) : "";
  auto applied = context.api.get("/v1/configuration");
  const std::string applied_cleaned =
      applied ? archive.secrets().clean_configuration(text_of(*applied, "text")) : "";
  if (text) archive.add("configuration/founding.toml", cleaned);
  if (!text) archive.missing("configuration/founding.toml", text.error().message);
  if (applied) archive.add("configuration/applied.toml", applied_cleaned);
  if (!applied) archive.missing("configuration/applied.toml", applied.error().message);
  archive.add_file("configuration/server", options.configuration_directory + "/server");
}

void add_answer(const Context& context, SupportArchive& archive, const std::string& name, const std::string& path) {
  auto answer = context.api.get(path);
  if (!answer) return archive.missing(name, answer.error().message);
  archive.add(name, *answer);
}

void add_state(const Context& context, SupportArchive& archive) {
  auto status = context.api.get("/v1/status");
  if (!status) return archive.missing("state", status.error().message);
  archive.add("state/status.json", *status);
  archive.add("state/status.txt", format_status(*status, Painter(false)));
  archive.add("state/links.txt", format_links(collect_links(*status), Painter(false)));
  for (const json& mirror : list_of(*status, "mirrors"))
    archive.add("mirror/" + text_of(mirror, "name") + ".txt", format_mirror_details(mirror, Painter(false)));
  add_answer(context, archive, "state/events.json", "/v1/events?limit=10000");
  for (const json& group : list_of(*status, "groups"))
    add_answer(context, archive, "state/explain-" + text_of(group, "name") + ".json",
               "/v1/explain?group=" + ApiClient::escape(text_of(group, "name")));
  auto plan = context.api.post("/v1/plan", "");
  if (plan) archive.add("state/plan.json", *plan);
}

void add_corosync(SupportArchive& archive, const SupportOptions& options) {
  archive.add_file("corosync/corosync.conf", options.run_directory + "/corosync/corosync.conf");
  archive.add_output("corosync/statistics.txt", {"corosync-cmapctl", "-m", "stats"});
  archive.add_output("corosync/map.txt", {"corosync-cmapctl"});
  archive.add_output("corosync/links.txt", {"corosync-cfgtool", "-s"});
  archive.add_output("corosync/version.txt", {"corosync", "-v"});
}

void add_system(SupportArchive& archive, const SupportOptions& options) {
  for (const char* file : {"/etc/os-release", "/proc/cmdline", "/proc/cpuinfo", "/proc/meminfo", "/proc/loadavg",
                           "/proc/uptime", "/proc/mounts", "/proc/net/dev", "/proc/modules", "/proc/filesystems",
                           "/proc/sys/kernel/sched_rt_runtime_us", "/sys/devices/system/clocksource/clocksource0/current_clocksource"})
    archive.add_file("system" + std::string(file), file);
  const std::vector<std::pair<const char*, std::vector<std::string>>> programs = {
      {"uname.txt", {"uname", "-a"}},
      {"date.txt", {"date", "--iso-8601=ns"}},
      {"addresses.txt", {"ip", "-statistics", "address"}},
      {"routes.txt", {"ip", "route", "show", "table", "all"}},
      {"neighbours.txt", {"ip", "neighbour"}},
      {"sockets.txt", {"ss", "-tuanp"}},
      {"nftables.txt", {"nft", "list", "ruleset"}},
      {"disks.txt", {"lsblk", "-O", "-J"}},
      {"space.txt", {"df", "-h"}},
      {"processes.txt", {"ps", "-eo", "pid,ppid,cls,rtprio,stat,rss,etime,args"}},
      {"packages.txt", {"dpkg-query", "-W", "corosync", "libknet1", "fuse3", "baton*"}},
      {"kernel.txt", {"dmesg", "--ctime"}},
      {"time.txt", {"timedatectl", "show"}},
      {"chrony.txt", {"chronyc", "-n", "tracking"}}};
  for (const auto& [name, command] : programs) archive.add_output(std::string("system/") + name, command);
  archive.add_output("system/state-directory.txt", {"ls", "-lanR", options.state_directory});
  archive.add_output("system/run-directory.txt", {"ls", "-lanR", options.run_directory});
}

std::string stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

}  // namespace

Status make_support_archive(const Context& context, const SupportOptions& options) {
  auto server = read_whole_file(options.configuration_directory + "/server");
  std::string name = server ? *server : "unknown";
  name = "baton-support-" + name.substr(0, name.find_first_of(" \n/")) + "-" + stamp();
  const std::string output = options.output.empty() ? name + ".tar.gz" : options.output;
  std::string parent = std::filesystem::path(output).parent_path().string();
  auto archive = SupportArchive::begin(parent.empty() ? "." : parent, name);
  if (!archive) return pass(archive);
  learn_secrets(*archive, options);
  add_configuration(context, *archive, options);
  add_state(context, *archive);
  archive->add_directory("logs", options.log_directory);
  add_corosync(*archive, options);
  add_system(*archive, options);
  if (auto written = archive->finish(output); !written) return written;
  json contents = archive->contents();
  contents["archive"] = output;
  if (context.json) {
    print_json(contents);
    return {};
  }
  for (const json& missing : list_of(contents, "missing"))
    print(wrap_text("not in it: " + text_of(missing, "name") + ": " + text_of(missing, "why"), 0));
  print(fmt::format("{}: {} files, {} secrets removed. Look through it before you pass it on; run it on the other "
                    "servers, too.\n", output, list_of(contents, "files").size(), number_of(contents, "secrets_removed")));
  return {};
}

}  // namespace baton::cli
