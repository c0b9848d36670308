// Cluster software that is here already: another corosync, another cluster of Baton, programs that move addresses on their own.
#include <sys/utsname.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "src/survey/preflight.h"

namespace baton::survey {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string first_word(std::string text) { return text.substr(0, text.find_first_of(" \n")); }

/// What a running program means; nothing: none of our business.
Finding judge_program(const std::string& name, const std::string& pid, const std::string& arguments,
                      const PreflightOptions& options) {
  Finding finding{.check = "foreign", .subject = fmt::format("{} (process {})", name, pid), .verdict = Verdict::kProblem};
  const std::string ours = options.run_directory + "/corosync/corosync.conf";
  if (name == "corosync" && arguments.find(ours) != std::string::npos)
    return {"foreign", finding.subject, Verdict::kOk, "Baton's own", ""};
  if (name == "corosync") {
    finding.text = "another corosync runs here: Baton brings its own, and only one fits on a server";
    finding.remedy = "systemctl disable --now corosync";
  } else if (name == "pacemakerd") {
    finding.text = "Pacemaker runs here: it would start and stop the same things";
    finding.remedy = "systemctl disable --now pacemaker corosync";
  } else {
    finding.verdict = Verdict::kWarning;
    finding.text = "it moves addresses or data between servers by itself";
    finding.remedy = "see that it leaves Baton's addresses and stores alone, or end it";
  }
  return finding;
}

/// One in a container with a network of its own is in nobody's way.
bool shares_network(const fs::path& process) {
  std::error_code error;
  const auto theirs = fs::read_symlink(process / "ns/net", error);
  return error || theirs == fs::read_symlink("/proc/self/ns/net", error);
}

void check_programs(const PreflightOptions& options, Findings& findings) {
  std::error_code error;
  size_t before = findings.size();
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename().string();
    if (!std::isdigit(static_cast<unsigned char>(pid[0]))) continue;
    const std::string name = first_word(text_of(process.path() / "comm"));
    if (name != "corosync" && name != "pacemakerd" && name != "keepalived" && name != "heartbeat" && name != "ucarp") continue;
    // A kernel thread, or one that is just ending, has no arguments.
    const std::string arguments = text_of(process.path() / "cmdline");
    if (!arguments.empty() && shares_network(process.path())) findings.push_back(judge_program(name, pid, arguments, options));
  }
  if (findings.size() == before) findings.push_back({"foreign", "programs", Verdict::kOk, "no other cluster software runs", ""});
}

void check_enabled(Findings& findings) {
  std::error_code error;
  for (const char* name : {"corosync", "pacemaker"}) {
    if (!fs::exists(fmt::format("/etc/systemd/system/multi-user.target.wants/{}.service", name), error)) continue;
    findings.push_back({"foreign", fmt::format("{}.service", name), Verdict::kProblem, "it would start at the next boot",
                        fmt::format("systemctl disable --now {}", name)});
  }
}

void check_other_cluster(const PreflightOptions& options, Findings& findings) {
  const std::string present = text_of(options.configuration_directory + "/cluster.toml");
  const std::string server = first_word(text_of(options.configuration_directory + "/server"));
  std::error_code error;
  const bool database = fs::exists(options.state_directory + "/database.sqlite", error);
  if (server.empty() && !database) {
    findings.push_back({"foreign", "other clusters", Verdict::kOk, "this server belongs to no cluster of Baton yet", ""});
    return;
  }
  Finding finding{.check = "foreign", .subject = "other clusters"};
  const std::string self = options.configuration->server(options.self)->name;
  const bool same = present.find("\"" + options.configuration->cluster_name + "\"") != std::string::npos;
  if (same && server == self) {
    finding.text = fmt::format("this server is {} of cluster {} already", self, options.configuration->cluster_name);
  } else {
    finding.verdict = Verdict::kProblem;
    finding.text = fmt::format("this server is {} of another cluster ({}, {})", server.empty() ? "one" : server,
                               options.configuration_directory, options.state_directory);
    finding.remedy = "if that cluster is gone, remove these directories' files; its data is then unknown to Baton";
  }
  findings.push_back(std::move(finding));
}

}  // namespace

void check_foreign(const PreflightOptions& options, Findings& findings) {
  check_programs(options, findings);
  check_enabled(findings);
  check_other_cluster(options, findings);
}

}  // namespace baton::survey
