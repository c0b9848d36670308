// `baton preflight`, and the same before `baton cluster create`. The checks are in src/survey. docs/operations.md.
#include "src/survey/preflight.h"

#include <map>

#include "src/cli/commands.h"
#include "src/cli/own_server.h"

namespace baton::cli {
namespace {

using survey::Finding;
using survey::Verdict;

Result<survey::Findings> look(const PreflightOptions& options) {
  auto place = find_own_server(options);
  if (!place) return pass(place);
  survey::PreflightOptions wanted{&place->configuration, place->self, options.configuration_directory, options.state_directory,
                                  options.run_directory};
  return survey::run_preflight(wanted);
}

Colour colour_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk: return Colour::kGreen;
    case Verdict::kWarning: return Colour::kYellow;
    case Verdict::kProblem: return Colour::kRed;
    case Verdict::kUnknown: return Colour::kFaint;
  }
  return Colour::kNone;
}

const char* word_of(Verdict verdict) { return verdict == Verdict::kUnknown ? "not checked" : to_string(verdict); }

std::string format_finding(const Finding& finding, const Painter& painter) {
  std::string text = painter.paint(fmt::format("{:12}", word_of(finding.verdict)), colour_of(finding.verdict));
  // The first line stands behind the verdict.
  text += fmt::format("{:11} ", finding.check) + wrap_text(finding.subject + ": " + finding.text, 24, kWidth).substr(24);
  if (!finding.remedy.empty()) text += wrap_text("-> " + finding.remedy, 24);
  return text;
}

std::map<Verdict, size_t> count(const survey::Findings& findings) {
  std::map<Verdict, size_t> numbers;
  for (const auto& finding : findings) ++numbers[finding.verdict];
  return numbers;
}

}  // namespace

Status show_preflight(const Context& context, const PreflightOptions& options) {
  const auto findings = look(options);
  if (!findings) return pass(findings);
  auto numbers = count(*findings);
  const size_t problems = numbers[Verdict::kProblem];
  if (context.json) {
    json list = json::array();
    for (const auto& finding : *findings)
      list.push_back({{"check", finding.check}, {"subject", finding.subject}, {"verdict", to_string(finding.verdict)},
                      {"text", finding.text}, {"remedy", finding.remedy}});
    print_json({{"findings", list}, {"ok", numbers[Verdict::kOk]}, {"warnings", numbers[Verdict::kWarning]},
                {"problems", problems}, {"not_checked", numbers[Verdict::kUnknown]}});
  } else {
    for (const auto& finding : *findings) print(format_finding(finding, context.painter));
    print(fmt::format("{} ok, {} warnings, {} problems, {} not checked\n", numbers[Verdict::kOk],
                      numbers[Verdict::kWarning], problems, numbers[Verdict::kUnknown]));
  }
  if (problems > 0) return fail_as(ErrorCode::kConflict, "{} problems: this server is not ready for the cluster", problems);
  return {};
}

Status demand_preflight(const Context& context, const PreflightOptions& options) {
  const auto findings = look(options);
  if (!findings) return pass(findings);
  std::string problems;
  for (const auto& finding : *findings) {
    if (finding.verdict == Verdict::kOk || finding.verdict == Verdict::kUnknown) continue;
    if (finding.verdict == Verdict::kProblem) {
      problems += fmt::format("\n  {}: {}{}{}", finding.subject, finding.text, finding.remedy.empty() ? "" : ": ", finding.remedy);
    } else if (!context.json) {
      fmt::print(stderr, "{}", format_finding(finding, Painter(false)));
    }
  }
  if (problems.empty()) return {};
  return fail_as(ErrorCode::kConflict,
                 "this server is not ready (baton preflight shows everything; --no-preflight goes on all the same):{}", problems);
}

}  // namespace baton::cli
