package developer_tools_test

import rego.v1

import data.fixtures
import data.scenes

test_ide_not_approved if {
	fixtures.fires("tools/ide-not-approved", scenes.tool("ide", "unheard-of"))
	fixtures.silent("tools/ide-not-approved", scenes.tool("ide", data.settings.catalogue.approved.ide[0]))
}

test_extension_not_approved if {
	fixtures.fires("tools/extension-not-approved", scenes.tool("extension", "unheard-of"))
	fixtures.silent("tools/extension-not-approved", scenes.tool("extension", data.settings.catalogue.approved.extension[0]))
}

test_assistant_not_approved if {
	fixtures.fires("tools/assistant-not-approved", scenes.tool("assistant", "unheard-of"))
	fixtures.silent("tools/assistant-not-approved", scenes.tool("assistant", data.settings.catalogue.approved.assistant[0]))
}

test_tool_not_approved if {
	fixtures.fires("tools/tool-not-approved", scenes.tool("tool", "unheard-of"))
	fixtures.silent("tools/tool-not-approved", scenes.tool("tool", data.settings.catalogue.approved.tool[0]))
}

test_service_not_approved if {
	fixtures.fires("tools/service-not-approved", scenes.tool("service", "unheard-of"))
	fixtures.silent("tools/service-not-approved", scenes.tool("service", data.settings.catalogue.approved.service[0]))
}

test_technology_not_approved if {
	fixtures.fires("tools/technology-not-approved", scenes.tool("technology", "cobol"))
	fixtures.silent("tools/technology-not-approved", scenes.tool("technology", "python"))
}

test_category_unknown if {
	fixtures.fires("tools/category-unknown", scenes.tool("spell", "abracadabra"))
	fixtures.silent("tools/category-unknown", scenes.tool("ide", "vscode"))
}

test_deprecated if {
	fixtures.fires("tools/deprecated", scenes.tool("tool", "yarn-classic"))
	fixtures.silent("tools/deprecated", scenes.tool("tool", "git"))
}
