// A plug-in for clang-tidy: the other checks look at the declarations of this repository only. Of their own they walk
// every header that a file includes, which took most of the time, and then drop what they found there.
// (clang-tidy 20 does this itself.)
#include <clang-tidy/ClangTidyCheck.h>
#include <clang-tidy/ClangTidyModule.h>
#include <clang-tidy/ClangTidyModuleRegistry.h>
#include <clang/AST/ASTContext.h>
#include <clang/ASTMatchers/ASTMatchFinder.h>

#include <vector>

namespace {

class Scope : public clang::tidy::ClangTidyCheck {
 public:
  using ClangTidyCheck::ClangTidyCheck;

  void registerMatchers(clang::ast_matchers::MatchFinder* finder) override {
    finder->addMatcher(clang::ast_matchers::translationUnitDecl().bind("unit"), this);
  }

  // Called before the unit's declarations are walked.
  void check(const clang::ast_matchers::MatchFinder::MatchResult& result) override {
    clang::ASTContext& context = *result.Context;
    const clang::SourceManager& sources = context.getSourceManager();
    std::vector<clang::Decl*> ours;
    // Not those of a precompiled header: loading all of them is what it saves.
    for (clang::Decl* decl : context.getTranslationUnitDecl()->noload_decls()) {
      const clang::SourceLocation at = sources.getExpansionLoc(decl->getLocation());
      if (at.isValid() && !sources.isInSystemHeader(at)) ours.push_back(decl);
    }
    context.setTraversalScope(ours);
  }
};

class Module : public clang::tidy::ClangTidyModule {
 public:
  void addCheckFactories(clang::tidy::ClangTidyCheckFactories& factories) override {
    factories.registerCheck<Scope>("atoll-scope");
  }
};

const clang::tidy::ClangTidyModuleRegistry::Add<Module> kModule("atoll",
                                                                "what the other checks look at");

}  // namespace
